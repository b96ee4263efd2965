"""The trained networks of blind restoration: USRNet, which restores any known blur, and the corrector of kernels."""

from pipelines.support.stage import Stage, main


def nonblind(stage: Stage) -> None:
    """Train a small USRNet on random kernels and noise, then the corrector on restorations with wrong kernels."""
    from dataclasses import replace
    from functools import partial
    from typing import Any

    from srfoundry.blind.corrector.samples import collect_samples
    from srfoundry.blind.corrector.training import train_corrector
    from srfoundry.blind.nonblind_pairs import PairDraw, SharpPatches
    from srfoundry.blind.nonblind_restoration import VARIANCES
    from srfoundry.blind.nonblind_training import train_usrnet, validate_usrnet
    from srfoundry.core.compute import channels_last
    from srfoundry.core.seeds import redraw
    from srfoundry.core.state import silent
    from srfoundry.imaging.patches import Patches
    from srfoundry.networks.nonblind.corrector import Corrector
    from srfoundry.networks.nonblind.usrnet import USRNet, start_plain
    from srfoundry.networks.zoo import cards
    from srfoundry.networks.zoo.architectures import build

    chosen, collection = stage.params.nonblind, stage.params.nonblind.collection
    noise, motion = chosen.degradations.noise, chosen.degradations.motion
    net = build(chosen.arch)
    assert isinstance(net, USRNet)
    redraw(net, stage.stream.rng("net"))
    start_plain(net)
    net = channels_last(net, stage.device)
    patches = Patches.open(stage.input("data/synthesize/train"))
    context: dict[str, Any] = {"scales": [stage.scale], "compute": stage.compute, "stream": stage.stream}
    pairs = PairDraw(SharpPatches(patches, chosen.draw), noise)
    history = train_usrnet(net, pairs, chosen.descent, motion=motion, resumption=stage.resumption, **context)
    judges = Patches.open(stage.input("data/synthesize/validation"))
    scores: dict[str, Any] = {
        "validation": validate_usrnet(net.eval(), judges, scale=stage.scale, device=stage.device),
        "parameters": sum(weight.numel() for weight in net.parameters()),
    }
    save = partial(cards.save, scale=stage.scale, made_by=stage.name, params_hash=stage.params.section_hash(stage.name))
    save(stage.output("models/nonblind.safetensors"), net, arch=chosen.arch, metrics=scores)
    drawn = SharpPatches(patches, replace(chosen.draw, patch=collection.sample_patch))
    pairs, kept = PairDraw(drawn, noise, collection.photograph_softness), stage.resumption.beside("samples", silent)
    samples = collect_samples(net, pairs, samples=collection.samples, variances=VARIANCES, resumption=kept, **context)
    corrector = Corrector()
    kept = stage.resumption.beside(
        "corrector", lambda step, row: stage.log(step, {f"corrector.{key}": value for key, value in row.items()})
    )
    curve = train_corrector(corrector, samples, chosen.corrector, stream=stage.stream, resumption=kept)
    save(stage.output("models/corrector.safetensors"), corrector, arch={"name": "corrector"})
    stage.curve(history)
    stage.metrics({**scores, "corrector_error": curve[-1]["held_out"] if curve else 0.0})


if __name__ == "__main__":
    main(nonblind, distributed=True)

"""The trained networks of blind restoration: USRNet, the corrector of kernels, the classifier of degradations."""

from typing import TYPE_CHECKING

from pipelines.support.stage import Stage, main

if TYPE_CHECKING:
    from srfoundry.imaging.patches import Patches


def nonblind(stage: Stage) -> None:
    """Train a small USRNet on random kernels and noise, then what looks at images before and after it."""
    from dataclasses import replace
    from typing import Any

    from pipelines.support.networks import save
    from srfoundry.blind.corrector.samples import collect_samples
    from srfoundry.blind.corrector.training import train_corrector
    from srfoundry.blind.nonblind_pairs import PairDraw, SharpPatches
    from srfoundry.blind.nonblind_restoration import VARIANCES
    from srfoundry.blind.nonblind_training import train_usrnet, validate_usrnet
    from srfoundry.core.state import silent
    from srfoundry.imaging.patches import Patches
    from srfoundry.networks.nonblind.corrector import Corrector
    from srfoundry.networks.nonblind.usrnet import USRNet
    from srfoundry.networks.zoo.drawn import drawn

    chosen, collection = stage.params.nonblind, stage.params.nonblind.collection
    noise, motion = chosen.degradations.noise, chosen.degradations.motion
    net = drawn(chosen.arch, USRNet, rng=stage.stream.rng("net"), device=stage.device)
    patches = Patches.open(stage.input("data/synthesize/train"))
    context: dict[str, Any] = {"scales": [stage.scale], "compute": stage.compute, "stream": stage.stream}
    pairs = PairDraw(SharpPatches(patches, chosen.draw), noise)
    history = train_usrnet(net, pairs, chosen.descent, motion=motion, resumption=stage.resumption, **context)
    judges = Patches.open(stage.input("data/synthesize/validation"))
    scores: dict[str, Any] = {
        "validation": validate_usrnet(net.eval(), judges, scale=stage.scale, device=stage.device),
        "parameters": sum(weight.numel() for weight in net.parameters()),
    }
    save(stage, "models/nonblind.safetensors", net, chosen.arch, scores)
    drawn = SharpPatches(patches, replace(chosen.draw, patch=collection.sample_patch))
    pairs, kept = PairDraw(drawn, noise, collection.photograph_softness), stage.resumption.beside("samples", silent)
    samples = collect_samples(net, pairs, samples=collection.samples, variances=VARIANCES, resumption=kept, **context)
    corrector = Corrector()
    kept = stage.resumption.beside(
        "corrector", lambda step, row: stage.log(step, {f"corrector.{key}": value for key, value in row.items()})
    )
    curve = train_corrector(corrector, samples, chosen.corrector, stream=stage.stream, resumption=kept)
    save(stage, "models/corrector.safetensors", corrector, {"name": "corrector"})
    missed = _classifier(stage, patches)
    stage.curve(history)
    stage.metrics({**scores, "corrector_error": curve[-1]["held_out"] if curve else 0.0, "classifier_missed": missed})


def _classifier(stage: Stage, patches: "Patches") -> float:
    """Train the classifier of degradations; returns the share of held-out windows that it takes for another kind."""
    from pipelines.support.networks import save
    from srfoundry.blind.auto.training import taught_classifier

    chosen = stage.params.nonblind
    classifier, arch, curve = taught_classifier(
        patches,
        chosen.classifier,
        softness=chosen.collection.photograph_softness,
        scales=[stage.scale],
        stream=stage.stream,
        resumption=stage.resumption.beside(
            "classifier", lambda step, row: stage.log(step, {f"classifier.{key}": value for key, value in row.items()})
        ),
    )
    save(stage, "models/classifier.safetensors", classifier, arch)
    return curve[-1]["held_out"] if curve else 0.0


if __name__ == "__main__":
    main(nonblind, distributed=True)

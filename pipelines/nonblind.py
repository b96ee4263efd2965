"""The non-blind network: restores any blur that it is told; what blind estimation tries its kernels with."""

from pipelines.support.stage import Stage, main


def nonblind(stage: Stage) -> None:
    """Train a small USRNet on random kernels and noise, then the corrector that hears its mistakes."""
    from functools import partial
    from typing import Any

    from srfoundry.blind.corrector import training
    from srfoundry.blind.nonblind_restoration import VARIANCES
    from srfoundry.blind.nonblind_training import train, validate
    from srfoundry.core.compute import channels_last
    from srfoundry.core.seeds import generator, redraw
    from srfoundry.imaging.patches import Patches
    from srfoundry.networks.nonblind.corrector import Corrector
    from srfoundry.networks.nonblind.usrnet import USRNet, start_plain
    from srfoundry.networks.zoo import cards

    chosen = stage.params.nonblind
    arch = {"widths": chosen.widths, "blocks": chosen.blocks, "iterations": chosen.iterations, "residual": True}
    net = USRNet(**arch)
    redraw(net, generator(stage.seed, stage.name, "net"))
    start_plain(net)
    net = channels_last(net, stage.device)
    patches = Patches.open(stage.input("data/synthesize/train"))
    history = train(
        net,
        patches,
        chosen.draw,
        chosen.descent,
        scales=[stage.scale],
        noise=chosen.noise,
        motion=chosen.motion,
        compute=stage.compute,
        stream=stage.stream,
        resumption=stage.resumption,
    )
    net.eval()
    judges = Patches.open(stage.input("data/synthesize/validation"))
    scores: dict[str, Any] = {
        "validation": validate(net, judges, scale=stage.scale, device=stage.device),
        "parameters": sum(weight.numel() for weight in net.parameters()),
    }
    save = partial(cards.save, scale=stage.scale, made_by=stage.name, params_hash=stage.params.section_hash(stage.name))
    save(stage.output("models/nonblind.safetensors"), net, arch={"name": "usrnet", **arch}, metrics=scores)
    memory = training.collect(
        net,
        patches,
        scales=(stage.scale,),
        samples=chosen.samples,
        batch=chosen.draw.batch,
        patch=chosen.sample_patch,
        octave=chosen.draw.octave,
        noise=chosen.noise,
        softness=chosen.softness,
        variances=VARIANCES,
        seed=stage.seed,
        stage=stage.name,
        device=stage.device,
        precision=stage.precision,
        checkpoint=stage.checkpoint.with_name(f"{stage.checkpoint.name}.samples"),
        key=stage.key,
    )
    corrector = Corrector()
    taught = training.train(
        corrector,
        memory,
        steps=chosen.corrector_steps,
        learning_rate=chosen.corrector_rate,
        seed=stage.seed,
        stage=stage.name,
        checkpoint=stage.checkpoint.with_name(f"{stage.checkpoint.name}.corrector"),
        key=stage.key,
        log=lambda step, values: stage.log(step, {f"corrector.{key}": value for key, value in values.items()}),
    )
    save(stage.output("models/corrector.safetensors"), corrector, arch={"name": "corrector"})
    scores["corrector_error"] = taught[-1]["held_out"] if taught else 0.0
    stage.curve(history)
    stage.metrics(scores)


if __name__ == "__main__":
    main(nonblind)

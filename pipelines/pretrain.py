"""The starting point of zero-shot super-resolution: a small network that undoes MATLAB's bicubic reduction."""

from pipelines.support.stage import Stage, main


def pretrain(stage: Stage) -> None:
    """Train the eight-layer network on bicubic pairs with L1 (MZSR, first phase)."""
    from functools import partial

    from srfoundry.core.seeds import generator, redraw
    from srfoundry.imaging.patches import Patches
    from srfoundry.networks.adaptive.mzsr import MZSR
    from srfoundry.networks.zoo import cards
    from srfoundry.zero_shot import meta_training, validation

    chosen = stage.params.pretrain
    net = MZSR(width=chosen.width, depth=chosen.depth)
    redraw(net, generator(stage.seed, stage.name, "net"))
    pairs = partial(
        meta_training.bicubic_pairs,
        Patches.open(stage.input("data/synthesize/train")),
        patch=chosen.patch,
        batch=chosen.batch,
        scale=stage.scale,
        device=stage.device,
    )
    history = meta_training.train(
        net,
        pairs,
        steps=chosen.steps,
        learning_rate=chosen.learning_rate,
        schedule=chosen.schedule,
        seed=stage.seed,
        title=stage.name,
        device=stage.device,
        precision=stage.precision,
        checkpoint=stage.checkpoint,
        key=stage.key,
        log=stage.log,
    )
    judges = Patches.open(stage.input("data/synthesize/validation"))
    scores = {
        "validation": validation.validate(net, judges, stage.scale, device=stage.device),
        "parameters": sum(weight.numel() for weight in net.parameters()),
    }
    cards.save(
        stage.output("models/pretrain.safetensors"),
        net,
        arch={"name": "mzsr", "width": chosen.width, "depth": chosen.depth},
        scale=stage.scale,
        made_by=stage.name,
        params_hash=stage.params.section_hash(stage.name),
        metrics=scores,
    )
    stage.curve(history)
    stage.metrics(scores)


if __name__ == "__main__":
    main(pretrain)

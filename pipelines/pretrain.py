"""The starting point of zero-shot super-resolution: a small network that undoes MATLAB's bicubic reduction."""

from pipelines.support.stage import Stage, main


def pretrain(stage: Stage) -> None:
    """Train the eight-layer network on bicubic pairs with L1 (MZSR, first phase)."""
    from functools import partial

    from srfoundry.core.compute import Compute
    from srfoundry.core.seeds import redraw
    from srfoundry.degradation.observation import Sampling
    from srfoundry.imaging.patches import Patches
    from srfoundry.networks.adaptive.mzsr import MZSR
    from srfoundry.networks.zoo import cards
    from srfoundry.zero_shot import plain_training
    from srfoundry.zero_shot.validation import validate

    chosen = stage.params.pretrain
    net = MZSR(width=chosen.width, depth=chosen.depth)
    redraw(net, stage.stream.rng("net"))
    patches = Patches.open(stage.input("data/synthesize/train"))
    pairs = partial(plain_training.bicubic_pairs, patches, chosen.training, scale=stage.scale, device=stage.device)
    history = plain_training.train(
        net,
        pairs,
        chosen.training,
        schedule=chosen.schedule,
        compute=stage.compute,
        stream=stage.stream,
        resumption=stage.resumption,
    )
    judges = Patches.open(stage.input("data/synthesize/validation"))
    scores = {
        "validation": validate(net, judges, Sampling(stage.scale), compute=Compute(stage.device)),
        "parameters": sum(weight.numel() for weight in net.parameters()),
    }
    cards.save(
        stage.output("models/pretrain.safetensors"),
        net,
        arch={"name": "mzsr", "width": chosen.width, "depth": chosen.depth},
        scale=stage.scale,
        made_by=stage.name,
        params_hash=stage.params_hash,
        metrics=scores,
    )
    stage.curve(history)
    stage.metrics(scores)


if __name__ == "__main__":
    main(pretrain, distributed=True)

"""Networks that find kernels of any form, for the method unfolded; beside the graph."""

from pipelines.support.stage import Stage, main


def unfolded(stage: Stage) -> None:
    """Train on photographs with blurs of many forms, then look at kernels of photographs that were kept back."""
    from pipelines.support.networks import finish
    from srfoundry.blind.unfolded.training import WindowDraw, train_unfolded, validate_unfolded
    from srfoundry.imaging.patches import Patches
    from srfoundry.networks.nonblind.unfolded import Unfolded
    from srfoundry.networks.zoo.drawn import drawn

    chosen = stage.params.unfolded
    net = drawn(chosen.arch, Unfolded, rng=stage.stream.rng("net"), device=stage.device)
    windows = WindowDraw(Patches.open(stage.input("data/synthesize/train")), chosen.windows, scales=chosen.scales)
    history = train_unfolded(
        net,
        windows,
        chosen.descent,
        scales=chosen.scales,
        compute=stage.compute,
        stream=stage.stream,
        resumption=stage.resumption,
    )
    judges = Patches.open(stage.input("data/synthesize/validation"))
    scores = validate_unfolded(
        net.eval(), WindowDraw(judges, chosen.windows, scales=net.scales), stream=stage.stream, device=stage.device
    )
    finish(stage, net, chosen.arch, scores, history)


if __name__ == "__main__":
    main(unfolded, distributed=True)

"""Networks that find kernels of any form, for the method unfolded; beside the graph."""

from pipelines.support.stage import Stage, main


def unfolded(stage: Stage) -> None:
    """Train on photographs with blurs of many forms, then look at kernels of photographs that were kept back."""
    from srfoundry.blind.unfolded.training import WindowDraw, train_unfolded, validate_unfolded
    from srfoundry.core.compute import channels_last
    from srfoundry.core.seeds import redraw
    from srfoundry.imaging.patches import Patches
    from srfoundry.networks.nonblind.unfolded import Unfolded, start_plain
    from srfoundry.networks.zoo import cards
    from srfoundry.networks.zoo.architectures import build

    chosen = stage.params.unfolded
    net = build(chosen.arch)
    assert isinstance(net, Unfolded)
    redraw(net, stage.stream.rng("net"))
    start_plain(net)
    net = channels_last(net, stage.device)
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
    scores["parameters"] = sum(weight.numel() for weight in net.parameters())
    cards.save(
        stage.output("models/unfolded.safetensors"),
        net,
        arch=chosen.arch,
        scale=net.scales[0],
        metrics={**scores, "scales": list(net.scales)},
        made_by=stage.name,
        params_hash=stage.params_hash,
    )
    stage.curve(history)
    stage.metrics(scores)


if __name__ == "__main__":
    main(unfolded, distributed=True)

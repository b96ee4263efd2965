"""The dual-regression network: restores, and proves it by coming back to its input."""

from pipelines.support.stage import Stage, main


def dual(stage: Stage) -> None:
    """Train the dual-regression network on bicubic pairs (DRN): primal and dual nets, the closed-loop loss."""
    from functools import partial

    from srfoundry.core.compute import channels_last
    from srfoundry.core.seeds import generator, redraw
    from srfoundry.dual_regression.batches import Batches, read_unpaired
    from srfoundry.dual_regression.loss import loss_of
    from srfoundry.dual_regression.training import train, validate
    from srfoundry.imaging.patches import Patches
    from srfoundry.networks.zoo import cards
    from srfoundry.networks.zoo.architectures import ARCHITECTURES, build
    from srfoundry.training.loop import last_value

    chosen, scale, device = stage.params.dual, stage.scale, stage.device
    arch, dual_arch = chosen.archs(scale)
    net, duals = build(arch), build(dual_arch)
    redraw(net, generator(stage.seed, "dual", "net"))
    redraw(duals, generator(stage.seed, "dual", "duals"))
    ARCHITECTURES[chosen.network].start_at_bicubic(net)
    net, duals = channels_last(net, device), duals.to(device)
    folder, size = stage.root / chosen.unpaired, chosen.draw.patch // scale
    batches = Batches(
        patches=Patches.open(stage.input("data/synthesize/train")),
        draws=chosen.draw,
        scale=scale,
        stream=stage.stream,
        unpaired=read_unpaired(folder, size) if chosen.unpaired_share > 0 else (),
        unpaired_share=chosen.unpaired_share,
    )
    history = train(
        net,
        duals,
        loss_of(duals, scale=scale, weight=chosen.dual_weight, compute=stage.compute),
        batches,
        chosen.descent,
        resumption=stage.resumption,
        restarts=chosen.restarts,
        skip=chosen.skip,
    )
    validation = Patches.open(stage.input("data/synthesize/validation"))
    scores = {
        "validation": validate(net, validation, scale=scale, device=device),
        "parameters": sum(weight.numel() for weight in net.parameters()),
        "loss": last_value(history, "total"),
    }
    save = partial(cards.save, scale=scale, made_by=stage.name, params_hash=stage.params.section_hash(stage.name))
    save(stage.output("models/dual.safetensors"), net, arch=arch, metrics=scores)
    save(stage.output("models/dual_nets.safetensors"), duals, arch=dual_arch)
    stage.curve(history)
    stage.metrics(scores)


if __name__ == "__main__":
    main(dual)

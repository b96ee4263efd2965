"""The dual-regression network: restores, and proves it by coming back to its input."""

from pipelines.stage import Stage, main


def dual(stage: Stage) -> None:
    """Train the dual-regression network on bicubic pairs (DRN): primal and dual nets, the closed-loop loss."""
    from functools import partial

    from srfoundry import checkpoint
    from srfoundry.dataset import Patches
    from srfoundry.dual import loss_of, train, validate
    from srfoundry.networks.drn import DRN, DualNets, start_at_bicubic
    from srfoundry.networks.units import channels_last
    from srfoundry.seeds import generator, redraw

    chosen, scale, device = stage.params.dual, stage.scale, stage.device
    net = DRN(scale=scale, blocks=chosen.blocks, width=chosen.width)
    duals = DualNets(scale=scale, width=chosen.dual_width).to(device)
    redraw(net, generator(stage.seed, "dual", "net"))
    redraw(duals, generator(stage.seed, "dual", "duals"))
    start_at_bicubic(net)
    net = channels_last(net, device)
    loss = loss_of(duals, scale=scale, weight=chosen.dual_weight, device=device, precision=stage.precision)
    history = train(
        net,
        duals,
        loss,
        Patches.open(stage.input("data/synthesize/train")),
        steps=chosen.steps,
        batch=chosen.batch,
        patch=chosen.patch,
        octave=chosen.octave,
        learning_rate=chosen.learning_rate,
        warmup=chosen.warmup,
        average=chosen.average,
        clip=chosen.clip,
        seed=stage.seed,
        stage=stage.name,
        checkpoint=stage.checkpoint,
        key=stage.key,
        log=stage.log,
    )
    validation = Patches.open(stage.input("data/synthesize/validation"))
    scores = {
        "validation": validate(net, validation, scale=scale, device=device),
        "parameters": sum(weight.numel() for weight in net.parameters()),
        "loss": history[-1]["total"] if history else 0.0,
    }
    save = partial(checkpoint.save, scale=scale, made_by=stage.name, params_hash=stage.params.section_hash(stage.name))
    arch = {"name": "drn", "scale": scale, "blocks": chosen.blocks, "width": chosen.width}
    save(stage.output("models/dual.safetensors"), net, arch=arch, metrics=scores)
    arch = {"name": "drn_duals", "scale": scale, "width": chosen.dual_width}
    save(stage.output("models/dual_nets.safetensors"), duals, arch=arch)
    stage.curve(history)
    stage.metrics(scores)


if __name__ == "__main__":
    main(dual)

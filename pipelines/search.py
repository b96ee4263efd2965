"""How narrow each layer may become, searched by gradient under a budget."""

from pipelines.stage import Stage, main


def search(stage: Stage) -> None:
    """Search each layer's channel number on the dual-regression loss, so that the parameter budget is met (DRC)."""
    from srfoundry import checkpoint
    from srfoundry.compress.picture import widths_picture
    from srfoundry.compress.search import Budget
    from srfoundry.compress.search import search as run
    from srfoundry.dataset import Patches
    from srfoundry.dual import loss_of, reopen, validate
    from srfoundry.networks.units import largest, thin

    chosen, device = stage.params.search, stage.device
    trained = (stage.input("models/dual.safetensors"), stage.input("models/dual_nets.safetensors"))
    net, duals, card = reopen(*trained, device)
    loss = loss_of(duals, scale=stage.scale, weight=chosen.dual_weight, device=device, precision=stage.precision)
    units = net.units()
    budget = Budget.of(net, units)
    widths, history = run(
        net,
        units,
        loss,
        Patches.open(stage.input("data/synthesize/train")),
        remove=chosen.remove,
        tolerance=chosen.tolerance,
        multiple=chosen.multiple,
        order=chosen.order,
        steps=chosen.steps,
        batch=chosen.batch,
        patch=chosen.patch,
        learning_rate=chosen.learning_rate,
        width_rate=chosen.width_rate,
        temperature=chosen.temperature,
        clip=chosen.clip,
        seed=stage.seed,
        trained=[net, duals],
        checkpoint=stage.checkpoint,
        key=stage.key,
        log=stage.log,
    )
    cut = thin(net, units, largest(net, units, widths))
    validation = Patches.open(stage.input("data/synthesize/validation"))
    names = [unit.name for unit in units]
    scores = {
        "validation_untuned": validate(cut, validation, scale=stage.scale, device=device),
        "widths": dict(zip(names, widths, strict=True)),
        "dense_widths": dict(zip(names, budget.dense, strict=True)),
        "removed_fraction": budget.removed(widths),
        "expected_removed_fraction": history[-1]["removed"] if history else 0.0,
        "budget": {"remove": chosen.remove, "tolerance": chosen.tolerance},
        "parameters_before": budget.total,
        "parameters": sum(weight.numel() for weight in cut.parameters()),
    }
    checkpoint.save(
        stage.output("models/search.safetensors"),
        cut,
        arch={**card.arch, "inner": widths},
        scale=stage.scale,
        made_by=stage.name,
        params_hash=stage.params.section_hash(stage.name),
        metrics=scores,
    )
    stage.curve(history)
    picture = stage.results / "widths.png"
    widths_picture(picture, names, budget.dense, widths, history, chosen.remove)
    stage.picture("widths", picture)
    stage.metrics(scores)


if __name__ == "__main__":
    main(search)

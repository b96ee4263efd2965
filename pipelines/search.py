"""How narrow each layer may become, searched by gradient under a budget."""

from pipelines.stage import Stage, main


def search(stage: Stage) -> None:
    """Search each layer's channel number on the dual-regression loss, so that the parameter budget is met (DRC)."""
    from functools import partial

    from torch import Tensor

    from srfoundry import checkpoint
    from srfoundry.compress.picture import widths_picture
    from srfoundry.compress.search import Budget
    from srfoundry.compress.search import search as run
    from srfoundry.dataset import Patches
    from srfoundry.dual import draw, loss_of, reopen, validate
    from srfoundry.networks.units import largest, thin
    from srfoundry.seeds import generator

    chosen, device = stage.params.search, stage.device
    trained = (stage.input("models/dual.safetensors"), stage.input("models/dual_nets.safetensors"))
    net, duals, card = reopen(*trained, device)
    loss = loss_of(duals, scale=stage.scale, weight=chosen.dual_weight, device=device, precision=stage.precision)
    units = net.units()
    budget = Budget.of(net, units)
    patches = Patches.open(stage.input("data/synthesize/train"))
    names = patches.photographs()

    def one(half: Patches, part: str, index: int) -> dict[int, Tensor]:
        rng = generator(stage.seed, "search", part, index)
        return draw(half, count=chosen.batch, patch=chosen.patch, scale=stage.scale, octave=chosen.octave, rng=rng)

    widths, history = run(
        net,
        units,
        loss,
        (partial(one, patches.only(names[0::2]), "train"), partial(one, patches.only(names[1::2] or names), "alpha")),
        remove=chosen.remove,
        tolerance=chosen.tolerance,
        multiple=chosen.multiple,
        order=chosen.order,
        steps=chosen.steps,
        learning_rate=chosen.learning_rate,
        width_rate=chosen.width_rate,
        temperature=chosen.temperature,
        clip=chosen.clip,
        rng=generator(stage.seed, "search", "logits"),
        trained=[net, duals],
        checkpoint=stage.checkpoint,
        key=stage.key,
        log=stage.log,
    )
    cut = thin(net, units, largest(net, units, widths))
    validation = Patches.open(stage.input("data/synthesize/validation"))
    units_named = [unit.name for unit in units]
    scores = {
        "validation_untuned": validate(cut, validation, scale=stage.scale, device=device),
        "widths": dict(zip(units_named, widths, strict=True)),
        "dense_widths": dict(zip(units_named, budget.dense, strict=True)),
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
    widths_picture(picture, units_named, budget.dense, widths, history, chosen.remove)
    stage.picture("widths", picture)
    stage.metrics(scores)


if __name__ == "__main__":
    main(search)

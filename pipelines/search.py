"""How narrow each layer may become, searched by gradient under a budget."""

from pipelines.support.stage import Stage, main


def search(stage: Stage) -> None:
    """Search each layer's channel number on the dual-regression loss, so that the budget is met (DRC)."""
    from pipelines.support.shrink import find_widths, save, show
    from srfoundry.dual_regression.training import reopen, validate
    from srfoundry.imaging.patches import Patches
    from srfoundry.networks.zoo.cards import read_card

    chosen = stage.params.search
    trained = (stage.input("models/dual.safetensors"), stage.input("models/dual_nets.safetensors"))
    net, duals, card = reopen(*trained, stage.device)
    reopened = read_card(trained[1]).arch
    units = net.units()
    found = find_widths(
        stage,
        chosen,
        net,
        duals,
        remove=chosen.remove,
        multiple=chosen.multiple,
        steps=chosen.steps,
        state=stage.checkpoint,
    )
    cut = found.cut(net)
    validation = Patches.open(stage.input("data/synthesize/validation"))
    scores = {
        **found.scores([unit.name for unit in units], chosen, chosen.remove),
        "validation_untuned": validate(cut, validation, scale=stage.scale, device=stage.device),
        "parameters_before": sum(weight.numel() for weight in net.parameters()),
        "parameters": sum(weight.numel() for weight in cut.parameters()),
    }
    save(stage, "models/search.safetensors", cut, {**card.arch, "inner": found.widths}, scores)
    save(stage, "models/search_duals.safetensors", duals, reopened, {})
    stage.curve(found.history)
    show(stage, net, found.budget.dense, found.widths, found.history, chosen.remove)
    stage.metrics(scores)


if __name__ == "__main__":
    main(search)

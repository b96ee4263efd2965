"""How narrow each layer may become, searched by gradient under a budget."""

from pipelines.support.stage import Stage, main


def search(stage: Stage) -> None:
    """Search each layer's channel number on the dual-regression loss, so that the budget is met (DRC)."""
    from pipelines.support.compressing import DUAL, conditions, opened, save_net, show_widths
    from srfoundry.compression.drc import search_widths
    from srfoundry.dual_regression.training import validate
    from srfoundry.imaging.patches import Patches
    from srfoundry.networks.zoo.cards import read_card

    chosen = stage.params.search
    net, duals, card = opened(stage)
    dual_arch = read_card(stage.input(DUAL[1])).arch
    found = search_widths(net, duals, chosen.target, chosen.searching(stage.params.degrade), conditions(stage))
    validation = Patches.open(stage.input("data/synthesize/validation"))
    scores = {
        **found.scores,
        "validation_untuned": validate(found.net, validation, scale=stage.scale, device=stage.device),
        "parameters_before": sum(weight.numel() for weight in net.parameters()),
        "parameters": sum(weight.numel() for weight in found.net.parameters()),
    }
    save_net(stage, "models/search.safetensors", found.net, {**card.arch, **found.arch}, scores)
    save_net(stage, "models/search_duals.safetensors", duals, dual_arch, {})
    stage.curve(found.history)
    show_widths(stage, net, found.dense, found.widths, found.history, chosen.target.remove)
    stage.metrics(scores)


if __name__ == "__main__":
    main(search, distributed=True)

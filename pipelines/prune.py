"""The smaller network: chosen channels, real surgery, fine-tuning with the dense net as teacher."""

from pipelines.support.stage import Stage, main


def prune(stage: Stage) -> None:
    """Cut the net to the searched widths and fine-tune it with the dense net as teacher (DRC).

    `prune.start: search` keeps the net that was trained in the search, with the channels that it came to rely on;
    `dual` selects channels of the dual net one after another, by feature and dual-regression loss.
    """
    from pipelines.support.compressing import conditions, opened, save_net, show_widths
    from srfoundry.compression.recipe import finish
    from srfoundry.imaging.patches import Patches
    from srfoundry.networks.sr.prunable import widths_of

    chosen = stage.params.prune
    dense, duals, _ = opened(stage)
    searched, moved, card = opened(stage, ("models/search.safetensors", "models/search_duals.safetensors"))
    if chosen.start == "dual":
        searched, moved = None, duals
    validation = Patches.open(stage.input("data/synthesize/validation"))
    widths, on = card.arch["inner"], conditions(stage)
    how = chosen.tuning(stage.params.degrade)
    made = finish(dense, moved, widths, how, on, searched=searched, validation=validation)
    save_net(stage, "models/prune.safetensors", made.net, card.arch, {**made.scores, **made.trained_for})
    stage.curve(made.history)
    show_widths(stage, dense, widths_of(dense, dense.units()), widths, made.selection or made.history)
    stage.metrics(made.scores)


if __name__ == "__main__":
    main(prune, distributed=True)

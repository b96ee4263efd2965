"""The smaller network: chosen channels, real surgery, fine-tuning with the dense net as teacher."""

from pipelines.support.stage import Stage, main


def prune(stage: Stage) -> None:
    """Cut the net to the searched widths and fine-tune it with the dense net as teacher (DRC).

    `prune.start: search` keeps the net that was trained in the search, with the channels that it came to rely on;
    `dual` selects channels of the dual net one after another, by feature and dual-regression loss.
    """
    from pipelines.support.shrink import cut_and_tune, save, show
    from srfoundry.dual_regression.training import reopen
    from srfoundry.networks.sr.prunable import widths_of

    chosen = stage.params.prune
    folder = stage.input("models/dual.safetensors").parent
    dense, duals, _ = reopen(folder / "dual.safetensors", stage.input("models/dual_nets.safetensors"), stage.device)
    found = (stage.input("models/search.safetensors"), stage.input("models/search_duals.safetensors"))
    searched, moved, card = reopen(*found, stage.device)
    if chosen.start == "dual":
        searched, moved = None, duals
    widths = card.arch["inner"]
    common = {"searched": searched, "steps": chosen.descent.steps, "state": stage.checkpoint}
    made = cut_and_tune(stage, chosen, dense, moved, widths, **common)
    save(stage, "models/prune.safetensors", made.net, card.arch, made.scores)
    stage.curve(made.history)
    show(stage, dense, widths_of(dense, dense.units()), widths, made.chosen or made.history, None)
    stage.metrics(made.scores)


if __name__ == "__main__":
    main(prune)

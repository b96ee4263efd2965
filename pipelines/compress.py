"""Further members of the family: search and prune in one, for another fraction that must go."""

from pipelines.stage import Stage, main


def compress(stage: Stage) -> None:
    """Search, choose channels, cut and fine-tune as `search` and `prune` do, until --percent of the net is gone."""
    from pipelines.shrink import cut_and_tune, find_widths, save, show
    from srfoundry.dual import reopen

    chosen, remove = stage.params.compress, int(stage.item) / 100
    trained = (stage.input("models/dual.safetensors"), stage.input("models/dual_nets.safetensors"))
    searched, moved, card = reopen(*trained, stage.device)
    found = find_widths(
        stage,
        stage.params.search,
        searched,
        moved,
        remove=remove,
        multiple=chosen.multiple,
        steps=chosen.search_steps,
        state=stage.checkpoint.with_name(f"{stage.checkpoint.name}.search"),
    )
    dense, duals, _ = reopen(*trained, stage.device)
    goes_on = stage.params.prune.start == "search"
    made = cut_and_tune(
        stage,
        stage.params.prune,
        dense,
        moved if goes_on else duals,
        found.widths,
        searched=found.cut(searched) if goes_on else None,
        steps=chosen.steps,
        state=stage.checkpoint,
        before=chosen.search_steps,
    )
    names = [unit.name for unit in dense.units()]
    scores = {**made.scores, "search": found.scores(names, stage.params.search, remove)}
    save(stage, f"models/compress_{stage.item}.safetensors", made.net, {**card.arch, "inner": found.widths}, scores)
    stage.curve(made.history)
    show(stage, dense, found.budget.dense, found.widths, found.history, remove)
    stage.metrics(scores)


if __name__ == "__main__":
    main(compress)

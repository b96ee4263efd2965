"""Further members of the family: search and prune in one, for another fraction that must go."""

from pipelines.support.stage import Stage, main


def compress(stage: Stage) -> None:
    """Make the net smaller by `compress.method` until --percent of it is gone, and fine-tune it as `prune` does."""
    from pipelines.support.methods import smaller
    from pipelines.support.shrink import cut_and_tune, save, show
    from srfoundry.dual_regression.training import reopen

    chosen, remove = stage.params.compress, int(stage.item) / 100
    trained = (stage.input("models/dual.safetensors"), stage.input("models/dual_nets.safetensors"))
    searched, moved, card = reopen(*trained, stage.device)
    state = stage.checkpoint.with_name(f"{stage.checkpoint.name}.search")
    found = smaller(stage, searched, moved, remove=remove, state=state)
    dense, duals, _ = reopen(*trained, stage.device)
    made = cut_and_tune(
        stage,
        stage.params.prune,
        dense,
        duals if found.duals is None else found.duals,
        found.widths,
        searched=found.net,
        steps=chosen.steps + found.more_steps,
        state=stage.checkpoint,
        before=chosen.search_steps if found.history else 0,
    )
    scores = {**made.scores, "method": chosen.method, "search": found.scores}
    save(stage, f"models/compress_{stage.item}.safetensors", made.net, {**card.arch, **found.arch}, scores)
    stage.curve(made.history)
    show(stage, dense, found.dense, found.widths, found.history, remove)
    stage.metrics(scores)


if __name__ == "__main__":
    main(compress)

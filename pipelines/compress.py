"""Further members of the family: search and prune in one, for another fraction that must go."""

from pipelines.support.stage import Stage, main


def compress(stage: Stage) -> None:
    """Make the net smaller by `compress.method` until --percent of it is gone, and fine-tune it as `prune` does."""
    from dataclasses import replace

    from pipelines.support.compressing import conditions, opened, save_net, show_widths
    from srfoundry.compression.compressors import COMPRESSORS
    from srfoundry.compression.recipe import finish
    from srfoundry.imaging.patches import Patches

    chosen, remove = stage.params.compress, int(stage.item) / 100
    compressor, on = COMPRESSORS[chosen.method], conditions(stage)
    how = chosen.over(stage.params.search, remove=remove)
    net, moved, card = opened(stage)
    found = compressor.load()(net, moved, how, on.beside("search"))
    dense, duals, _ = opened(stage)
    searched, moved = found.net, found.duals
    if found.selectable and stage.params.prune.start == "dual":
        searched, moved = None, duals
    tuning = stage.params.prune.tuning
    steps = chosen.steps + (0 if compressor.searches else chosen.search_steps)
    made = finish(
        dense,
        moved,
        found.widths,
        replace(tuning, descent=replace(tuning.descent, steps=steps)),
        on.after(chosen.search_steps if found.history else 0),
        searched=searched,
        validation=Patches.open(stage.input("data/synthesize/validation")),
    )
    scores = {**made.scores, "method": chosen.method, "search": found.scores}
    save_net(stage, f"models/compress_{stage.item}.safetensors", made.net, {**card.arch, **found.arch}, scores)
    stage.curve(made.history)
    show_widths(stage, dense, found.dense, found.widths, found.history, remove)
    stage.metrics(scores)


if __name__ == "__main__":
    main(compress)

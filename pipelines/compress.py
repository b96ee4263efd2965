"""Further members of the family: search and prune in one, for another fraction that must go."""

from pipelines.support.stage import Stage, main


def compress(stage: Stage) -> None:
    """Make the net smaller by `compress.method` until --percent of it is gone, and fine-tune it as `prune` does."""
    from pipelines.support.compressing import conditions, opened, save_member
    from srfoundry.compression.member import make_member
    from srfoundry.imaging.patches import Patches

    values, remove = stage.params, int(stage.item) / 100
    chosen, start = values.compress, values.prune.start
    made = make_member(
        lambda: opened(stage)[:2],
        chosen.method,
        chosen.over(values.search, values.degrade, remove=remove),
        chosen.tuning(values.prune, values.degrade),
        conditions(stage),
        start=start,
        validation=Patches.open(stage.input("data/synthesize/validation")),
    )
    arch, path = opened(stage)[2].arch, f"models/compress_{stage.item}.safetensors"
    save_member(stage, made, arch, path, method=chosen.method, remove=remove)


if __name__ == "__main__":
    main(compress, distributed=True)

"""Smaller members of the family for photographs: DRC under the degradation that the dense one was trained for."""

from pipelines.support.stage import Stage, main


def photo_compress(stage: Stage) -> None:
    """Make the photo net smaller by `compress.method` until --percent of it is gone, and fine-tune it."""
    from pipelines.support.compressing import PHOTO, conditions, opened, save_member
    from srfoundry.compression.member import make_member
    from srfoundry.imaging.patches import Patches

    values, remove = stage.params, int(stage.item) / 100
    own, start = values.photo_compress, values.prune.start
    chosen = own.compress(values.compress)
    made = make_member(
        lambda: opened(stage, PHOTO)[:2],
        chosen.method,
        chosen.over(own.search(values.search, values.photo), values.degrade, remove=remove),
        chosen.tuning(own.prune(values.prune, values.photo), values.degrade),
        conditions(stage),
        start=start,
        validation=Patches.open(stage.input("data/synthesize/validation")),
    )
    arch, path = opened(stage, PHOTO)[2].arch, f"models/photo_{stage.item}.safetensors"
    save_member(stage, made, arch, path, method=chosen.method, remove=remove)


if __name__ == "__main__":
    main(photo_compress, distributed=True)

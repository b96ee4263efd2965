"""The network for photographs from cameras and the web: the same closed loop, under blur, noise and JPEG."""

from pipelines.support.stage import Stage, main


def photo(stage: Stage) -> None:
    """Train the family's dense network for photographs: as `dual` does, under the degradation of `photo`."""
    from pipelines.support.dense import given, save_dense
    from srfoundry.dual_regression.recipe import train_dense

    chosen = stage.params.photo
    how = chosen.over(stage.params.dual).training(stage.scale, stage.params.degrade)
    start = None
    if chosen.start == "dual":
        if stage.params.dual.archs(stage.scale)[0] == how.arch:
            start = stage.input("models/dual.safetensors")
        else:
            stage.note("starts from scratch, since dual is another network; give both one network, width and blocks")
    save_dense(stage, how, train_dense(how, **given(stage), start=start), "models/photo.safetensors")


if __name__ == "__main__":
    main(photo, distributed=True)

"""The network for photographs from cameras and the web: the same closed loop, under blur, noise and JPEG."""

from pipelines.support.stage import Stage, main


def photo(stage: Stage) -> None:
    """Train the family's dense network for photographs: as `dual` does, under the degradation of `photo`."""
    from pipelines.support.dense import given, save_dense
    from srfoundry.dual_regression.recipe import train_dense

    how = stage.params.photo.over(stage.params.dual).training(stage.scale, stage.params.degrade)
    save_dense(stage, how, train_dense(how, **given(stage)), "models/photo.safetensors")


if __name__ == "__main__":
    main(photo)

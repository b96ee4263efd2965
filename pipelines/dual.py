"""The dual-regression network: restores, and proves it by coming back to its input."""

from pipelines.support.stage import Stage, main


def dual(stage: Stage) -> None:
    """Train the dual-regression network (DRN): primal and dual map, the closed-loop loss."""
    from pipelines.support.dense import given, save_dense
    from srfoundry.dual_regression.recipe import train_dense

    how = stage.params.dual.training(stage.scale, stage.params.degrade)
    save_dense(stage, how, train_dense(how, **given(stage)), "models/dual.safetensors")


if __name__ == "__main__":
    main(dual, distributed=True)

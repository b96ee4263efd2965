"""The smaller network: chosen channels, real surgery, fine-tuning with the dense net as teacher."""

from pipelines.stage import Stage, main


def prune(stage: Stage) -> None:
    """Choose channels by feature and dual-regression loss, cut the others out, and fine-tune what is left (DRC)."""
    from pipelines.shrink import cut_and_tune, save, show
    from srfoundry import checkpoint
    from srfoundry.dual import reopen
    from srfoundry.networks.units import widths_of

    chosen = stage.params.prune
    duals_path = stage.input("models/dual_nets.safetensors")
    dense, duals, _ = reopen(stage.input("models/dual.safetensors"), duals_path, stage.device)
    searched, _, _ = reopen(stage.input("models/search_dense.safetensors"), duals_path, stage.device)
    arch = checkpoint.read_card(stage.input("models/search.safetensors")).arch
    start = searched if chosen.start == "search" else dense
    made = cut_and_tune(stage, chosen, start, dense, duals, arch["inner"], steps=chosen.steps, state=stage.checkpoint)
    save(stage, "models/prune.safetensors", made.net, arch, made.scores)
    stage.curve(made.history)
    show(stage, dense, widths_of(dense, dense.units()), arch["inner"], made.chosen or made.history, None)
    stage.metrics(made.scores)


if __name__ == "__main__":
    main(prune)

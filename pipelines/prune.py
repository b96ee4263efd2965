"""The smaller network: chosen channels, real surgery, fine-tuning with the dense net as teacher."""

from pipelines.stage import Stage, main


def prune(stage: Stage) -> None:
    """Choose channels by feature and dual-regression loss, cut the others out, and fine-tune what is left (DRC)."""
    from functools import partial

    import torch

    from srfoundry import checkpoint
    from srfoundry.compress.picture import widths_picture
    from srfoundry.compress.prune import select
    from srfoundry.dataset import Patches
    from srfoundry.dual import draw, loss_of, reopen, train, validate
    from srfoundry.networks.units import multiplications, thin, widths_of
    from srfoundry.seeds import generator

    chosen, scale, device = stage.params.prune, stage.scale, stage.device
    trained = (stage.input("models/dual.safetensors"), stage.input("models/dual_nets.safetensors"))
    dense, duals, _ = reopen(*trained, device)
    arch = checkpoint.read_card(stage.input("models/search.safetensors")).arch
    widths: list[int] = arch["inner"]
    units, dense_widths = dense.units(), widths_of(dense, dense.units())
    patches = Patches.open(stage.input("data/synthesize/train"))
    validation = Patches.open(stage.input("data/synthesize/validation"))
    loss = partial(loss_of, duals, scale=scale, weight=chosen.dual_weight, device=device, precision=stage.precision)
    cut = partial(draw, patches, count=chosen.select_batch, patch=chosen.patch, scale=scale, octave=chosen.octave)
    batches = [cut(rng=generator(stage.seed, "prune", "select", index)) for index in range(chosen.select_batches)]
    sparse = thin(dense, [], [])
    kept, chosen_rows = select(
        sparse,
        dense,
        units,
        widths,
        batches,
        loss(),
        per_round=chosen.per_round,
        rate=chosen.select_rate,
        feature_weight=chosen.feature_weight,
        checkpoint=stage.checkpoint,
        key=stage.key,
        log=stage.log,
    )
    net = thin(sparse, units, kept)
    untuned = validate(net, validation, scale=scale, device=device)
    history = train(
        net,
        duals,
        loss(teacher=dense, teacher_weight=chosen.teacher_weight),
        patches,
        steps=chosen.steps,
        batch=chosen.batch,
        patch=chosen.patch,
        octave=chosen.octave,
        learning_rate=chosen.learning_rate,
        warmup=chosen.warmup,
        average=chosen.average,
        clip=chosen.clip,
        seed=stage.seed,
        stage=stage.name,
        checkpoint=stage.checkpoint.with_name(f"{stage.name}.pt.tuning"),
        key=stage.key,
        log=lambda step, values: stage.log(len(units) + step, values),
    )
    before, after = (sum(weight.numel() for weight in each.parameters()) for each in (dense, net))
    macs_before, macs = (multiplications(each, torch.zeros(1, 3, 96, 96, device=device)) for each in (dense, net))
    scores = {
        "parameters_before": before,
        "parameters": after,
        "removed_fraction": 1 - after / before,
        "macs_before_96x96": macs_before,
        "macs_96x96": macs,
        "removed_macs_fraction": 1 - macs / macs_before,
        "validation": validate(net, validation, scale=scale, device=device),
        "validation_untuned": untuned,
        "validation_dense": validate(dense, validation, scale=scale, device=device),
        "kept": {unit.name: width for unit, width in zip(units, widths, strict=True)},
    }
    checkpoint.save(
        stage.output("models/prune.safetensors"),
        net,
        arch=arch,
        scale=scale,
        made_by=stage.name,
        params_hash=stage.params.section_hash(stage.name),
        metrics=scores,
    )
    stage.curve(history)
    picture = stage.results / "widths.png"
    widths_picture(picture, [unit.name for unit in units], dense_widths, widths, chosen_rows, None)
    stage.picture("widths", picture)
    stage.metrics(scores)


if __name__ == "__main__":
    main(prune)

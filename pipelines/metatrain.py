"""Weights from which a few gradient steps on one image undo that image's own blur."""

from typing import Any

from pipelines.stage import Stage, main


def metatrain(stage: Stage) -> None:
    """Meta-transfer training: MAML over kernel tasks, from the pretrained network (MZSR, second phase)."""
    from functools import partial

    import numpy as np
    import torch

    from srfoundry import adaptation, checkpoint, meta
    from srfoundry.dataset import Patches

    chosen, scale, device = stage.params.metatrain, stage.scale, stage.device
    net, card = checkpoint.load(stage.input("models/pretrain.safetensors"))
    bank = torch.from_numpy(np.load(stage.input("data/synthesize/kernels/bank.npy"), allow_pickle=False))
    common: dict[str, Any] = {"seed": stage.seed, "device": device, "precision": stage.precision, "key": stage.key}
    patches = Patches.open(stage.input("data/synthesize/train"))
    pairs = partial(
        meta.blurred_pairs,
        patches,
        bank,
        patch=chosen.warmup_patch,
        batch=chosen.warmup_batch,
        scale=scale,
        device=device,
    )
    warm = meta.train(
        net,
        pairs,
        steps=chosen.warmup_steps,
        learning_rate=chosen.warmup_learning_rate,
        title=f"{stage.name} (warm-up)",
        checkpoint=stage.checkpoint.with_name(f"{stage.name}.pt.warmup"),
        log=stage.log,
        **common,
    )
    history = meta.metatrain(
        net,
        patches,
        bank,
        tasks=chosen.tasks,
        shots=chosen.shots,
        patch=chosen.patch,
        inner_steps=chosen.inner_steps,
        inner_rate=chosen.inner_rate,
        steps=chosen.steps,
        learning_rate=chosen.learning_rate,
        order=chosen.order,
        loss_weights=chosen.loss_weights,
        scale=scale,
        checkpoint=stage.checkpoint,
        log=lambda step, values: stage.log(chosen.warmup_steps + step, values),
        **common,
    )
    score = partial(
        adaptation.validate, net, Patches.open(stage.input("data/synthesize/validation")), scale, device=device
    )
    rates = chosen.rates
    scores = {}
    for name in ("gauss20", "aniso"):
        kernel = torch.from_numpy(np.load(stage.input(f"data/synthesize/kernels/{name}.npy"), allow_pickle=False))[None]
        scores[name] = {f"steps_{count}": score(kernel=kernel, rates=rates[:count]) for count in (0, 1, len(rates))}
    checkpoint.save(
        stage.output("models/metatrain.safetensors"),
        net,
        arch=card.arch,
        scale=scale,
        made_by=stage.name,
        params_hash=stage.params.section_hash(stage.name),
        metrics={"validation": scores, "rates": rates},  # the card says how this net wants to be adapted
    )
    stage.curve(warm + [{**row, "step": row["step"] + chosen.warmup_steps} for row in history])
    stage.metrics({"validation": scores})


if __name__ == "__main__":
    main(metatrain)

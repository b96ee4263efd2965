"""Weights from which a few gradient steps on one image undo that image's own blur."""

from typing import Any

from pipelines.support.stage import Stage, main


def metatrain(stage: Stage) -> None:
    """Meta-transfer training: MAML over kernel tasks, from the pretrained network (MZSR, second phase)."""
    from functools import partial

    import numpy as np
    import torch

    from srfoundry.core.seeds import generator
    from srfoundry.imaging.patches import Patches
    from srfoundry.networks.adaptive.mzsr import MZSR
    from srfoundry.networks.zoo import cards
    from srfoundry.zero_shot import kernel_tasks, meta_training, validation

    chosen, scale, device = stage.params.metatrain, stage.scale, stage.device
    before, card = cards.load(stage.input("models/pretrain.safetensors"))
    arch = {**card.arch, "enlargement": chosen.enlargement}
    net = MZSR(**{name: value for name, value in arch.items() if name != "name"})
    net.load_state_dict(before.state_dict())
    bank = torch.from_numpy(np.load(stage.input("data/synthesize/kernels/bank.npy"), allow_pickle=False))
    groups = kernel_tasks.make(
        bank,
        scales=chosen.scales or [scale],
        decimations=["direct", "bicubic"] if chosen.decimation == "both" else [chosen.decimation],
        enlargement=chosen.enlargement,
        mismatch=chosen.mismatch,
        rng=generator(stage.seed, stage.name, "blurs"),
    )
    common: dict[str, Any] = {"seed": stage.seed, "device": device, "precision": stage.precision, "key": stage.key}
    common["schedule"] = chosen.schedule
    patches = Patches.open(stage.input("data/synthesize/train"))
    pairs = partial(
        meta_training.blurred_pairs,
        patches,
        groups,
        patch=chosen.warmup_patch,
        batch=chosen.warmup_batch,
        device=device,
    )
    warm = meta_training.train(
        net,
        pairs,
        steps=chosen.warmup_steps,
        learning_rate=chosen.warmup_learning_rate,
        title=f"{stage.name} (warm-up)",
        checkpoint=stage.checkpoint.with_name(f"{stage.name}.pt.warmup"),
        log=stage.log,
        **common,
    )
    draw = partial(
        meta_training.draw_tasks,
        patches,
        groups,
        support=chosen.support,
        tasks=chosen.tasks,
        shots=chosen.shots,
        patch=chosen.patch,
        device=device,
    )
    history, factors = meta_training.metatrain(
        net,
        draw,
        inner_steps=chosen.inner_steps,
        inner_rate=chosen.inner_rate,
        learn_rates=chosen.learn_rates,
        steps=chosen.steps,
        learning_rate=chosen.learning_rate,
        clip=chosen.clip,
        order=chosen.order,
        loss_weights=chosen.loss_weights,
        checkpoint=stage.checkpoint,
        log=lambda step, values: stage.log(chosen.warmup_steps + step, values),
        **common,
    )
    judges = Patches.open(stage.input("data/synthesize/validation"))
    how: dict[str, Any] = {"sons": chosen.sons, "held_out": chosen.held_out}
    decimation = "bicubic" if chosen.decimation == "bicubic" else "direct"
    score = partial(validation.validate, net, judges, scale, device=device, decimation=decimation, **how)
    rates = meta_training.step_sizes(chosen.rates, factors)
    scores = {}
    for name in ("gauss20", "aniso"):
        kernel = torch.from_numpy(np.load(stage.input(f"data/synthesize/kernels/{name}.npy"), allow_pickle=False))[None]
        scores[name] = {f"steps_{count}": score(kernel=kernel, rates=rates[:count]) for count in (0, 1, len(rates))}
    cards.save(
        stage.output("models/metatrain.safetensors"),
        net,
        arch=arch,
        scale=scale,
        made_by=stage.name,
        params_hash=stage.params.section_hash(stage.name),
        metrics={"validation": scores, "rates": rates, **how},  # the card says how this net wants to be adapted
    )
    stage.curve(warm + [{**row, "step": row["step"] + chosen.warmup_steps} for row in history])
    stage.metrics({"validation": scores})


if __name__ == "__main__":
    main(metatrain)

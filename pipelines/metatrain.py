"""Weights from which a few gradient steps on one image undo that image's own blur."""

from pipelines.support.stage import Stage, main
from srfoundry.degradation.blurred_sets import BLURRED


def metatrain(stage: Stage) -> None:
    """Meta-transfer training: MAML over kernel tasks, from the pretrained network (MZSR, second phase)."""
    from dataclasses import replace
    from functools import partial

    import numpy as np
    import torch

    from pipelines.support.networks import save
    from srfoundry.core.compute import Compute
    from srfoundry.core.seeds import Stream
    from srfoundry.degradation.observation import Sampling
    from srfoundry.imaging.patches import Patches
    from srfoundry.networks.adaptive.mzsr import MZSR
    from srfoundry.networks.zoo import cards
    from srfoundry.zero_shot import kernel_tasks, meta_training, plain_training
    from srfoundry.zero_shot.recipe import Recipe
    from srfoundry.zero_shot.step_sizes import step_sizes
    from srfoundry.zero_shot.validation import validate_steps

    chosen, warmup = stage.params.metatrain, stage.params.metatrain.warmup
    before, card = cards.load(stage.input("models/pretrain.safetensors"))
    arch = {**card.arch, "enlargement": chosen.degradations.enlargement, "noise": chosen.noise.present}
    net = MZSR(**{name: value for name, value in arch.items() if name != "name"})
    assert isinstance(before, MZSR)
    net.start_from(before)

    def taps(name: str) -> torch.Tensor:
        return torch.from_numpy(np.load(stage.input(f"data/synthesize/kernels/{name}.npy"), allow_pickle=False))

    groups = kernel_tasks.kernel_groups(
        taps("bank"), chosen.degradations, scale=stage.scale, rng=stage.stream.rng("blurs")
    )
    patches = Patches.open(stage.input("data/synthesize/train"))
    warm = plain_training.train(
        net,
        partial(kernel_tasks.blurred_pairs, patches, groups, warmup, noise=chosen.noise, device=stage.device),
        warmup,
        schedule=chosen.outer.schedule,
        compute=stage.compute,
        stream=Stream(stage.seed, f"{stage.name} (warm-up)"),
        resumption=stage.resumption.beside("warmup"),
    )
    history, factors = meta_training.metatrain(
        net,
        partial(kernel_tasks.draw_tasks, patches, groups, chosen.draw, noise=chosen.noise, device=stage.device),
        chosen.inner,
        chosen.outer,
        compute=stage.compute,
        stream=stage.stream,
        resumption=replace(stage.resumption, log=lambda step, values: stage.log(warmup.steps + step, values)),
    )
    steps = chosen.adaptation
    recipe = Recipe(step_sizes(steps.rates, factors), steps.self_pairs, steps.held_out, steps.descent)
    judges = Patches.open(stage.input("data/synthesize/validation"))
    sampling = Sampling(stage.scale, "bicubic" if chosen.degradations.decimation == "bicubic" else "direct")
    kernels = {name: taps(name)[None] for name in BLURRED}
    scores = validate_steps(net, judges, sampling, kernels, recipe, compute=Compute(stage.device))
    save(stage, "models/metatrain.safetensors", net, arch, {"validation": scores, **recipe.to_card()})
    stage.curve(warm + [{**row, "step": row["step"] + warmup.steps} for row in history])
    stage.metrics({"validation": scores})


if __name__ == "__main__":
    main(metatrain, distributed=True)

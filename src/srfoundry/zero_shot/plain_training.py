"""Training of MZSR's network on pairs, without inner steps.

Soh et al., "Meta-Transfer Learning for Zero-Shot Super-Resolution", CVPR 2020, phase 1. The network's inputs are
enlarged low-resolution images, not clipped; the loss is the mean absolute error over all elements.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.core.compute import Compute, sent
from srfoundry.core.process_group import ALONE, Processes
from srfoundry.core.seeds import Stream
from srfoundry.core.state import Resumption
from srfoundry.imaging import resize
from srfoundry.imaging.patches import Patches
from srfoundry.training.loop import fit
from srfoundry.training.optimiser import gradients_in_parts
from srfoundry.training.prefetch import fed
from srfoundry.training.schedules import Schedule, rate
from srfoundry.zero_shot.settings import PlainTraining

WARMUP = 20  # steps in which the learning rate climbs; a tenth of a shorter training

# Enlarged inputs, with a fourth channel of their noise where that is drawn, and their targets.
Pair = tuple[Float[Tensor, "b c p p"], Float[Tensor, "b 3 p p"]]


def bicubic_pairs(
    patches: Patches,
    chosen: PlainTraining,
    *,
    scale: int,
    device: torch.device,
    rng: torch.Generator,
    processes: Processes = ALONE,
) -> Pair:
    """Draw patches and their enlarged bicubic reductions: this process's rows of the batch."""
    rows = processes.rows(chosen.batch)
    drawn = patches.batch(chosen.batch, chosen.patch, rng=rng, factors=[1, scale], rows=rows)
    return resize.cubic(sent(drawn[scale], device), scale), sent(drawn[1], device)


def train(
    net: nn.Module,
    pairs: Callable[..., Pair],
    chosen: PlainTraining,
    *,
    schedule: Schedule,
    compute: Compute,
    stream: Stream,
    resumption: Resumption,
) -> list[dict[str, float]]:
    """Train on pairs with L1 (MZSR eq. 4; Adam), in place.

    Args:
        pairs: draws inputs and targets with a generator `rng` for one of `processes`: `bicubic_pairs` (phase 1), or
            `kernel_tasks.blurred_pairs`, which MZSR has not: much of MAML's gain at a part of its cost.
        schedule: of the learning rate.
        stream: its name is the training's title, too.

    Returns:
        The curve.
    """
    net.to(compute.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    parts, weights = compute.parts(chosen.batch), list(net.parameters())
    compute.processes.same_weights(net)
    optimiser = torch.optim.Adam(weights, lr=chosen.learning_rate)
    drawn = fed(lambda index: [pairs(rng=stream.rng(index), processes=part) for part in parts], compute.device)
    warmup = min(WARMUP, chosen.steps // 10)

    def loss(enlarged: Tensor, high: Tensor) -> dict[str, Tensor]:
        with compute.autocast():
            restored = net(enlarged.contiguous(memory_format=torch.channels_last))
        return {"total": (restored.float() - high).abs().mean()}

    def step(index: int) -> Mapping[str, Tensor]:
        for group in optimiser.param_groups:
            group["lr"] = rate(schedule, index, chosen.steps, chosen.learning_rate, warmup=warmup)
        terms = ((loss(*pair), part.share(chosen.batch)) for pair, part in zip(drawn(index), parts, strict=True))
        whole = gradients_in_parts(compute.processes, weights, terms)
        optimiser.step()
        return {"loss": whole["total"]}

    state = {"net": net, "optimiser": optimiser}
    return fit(step, steps=chosen.steps, state=state, resumption=resumption, title=stream.name)

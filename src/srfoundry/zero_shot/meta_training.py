"""Meta-transfer training over kernel tasks.

Soh et al., "Meta-Transfer Learning for Zero-Shot Super-Resolution", CVPR 2020, phase 2 (algorithm 1): Adam on MAML's
objective. Every loss is a mean absolute error over all elements.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.core.compute import Compute
from srfoundry.core.seeds import Stream
from srfoundry.core.state import Resumption
from srfoundry.training.loop import fit
from srfoundry.training.prefetch import fed
from srfoundry.training.schedules import rate
from srfoundry.zero_shot import maml
from srfoundry.zero_shot.settings import InnerLoop, LossWeights, OuterDescent
from srfoundry.zero_shot.step_sizes import SPEED, StepSizeFactors

WARMUP = 10  # steps in which the learning rate climbs; a tenth of a shorter training


def metatrain(
    net: nn.Module,
    draw: Callable[..., maml.Tasks],
    inner: InnerLoop,
    outer: OuterDescent,
    *,
    compute: Compute,
    stream: Stream,
    resumption: Resumption,
) -> tuple[list[dict[str, float]], Float[Tensor, " w"]]:
    """Meta-transfer training (MZSR alg. 1), in place.

    Args:
        draw: draws a meta-batch with a generator `rng` for one of `processes` (`kernel_tasks.draw_tasks`).

    Returns:
        The curve, and the factor of the step size for each weight tensor (1 where they are not learned).
    """
    net.to(compute.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    learned, processes = StepSizeFactors(net).to(compute.device), compute.processes
    processes.same_weights(net)
    groups = [{"params": list(net.parameters()), "speed": 1.0}]
    if inner.learn_rates:
        groups.append({"params": list(learned.parameters()), "speed": SPEED})
    adam = torch.optim.Adam(groups, lr=outer.learning_rate)
    drawn = fed(lambda index: draw(rng=stream.rng(index), processes=processes), compute.device)
    warmup = min(WARMUP, outer.steps // 10)

    def step(index: int) -> Mapping[str, Tensor]:
        for group in adam.param_groups:
            group["lr"] = group["speed"] * rate(outer.schedule, index, outer.steps, outer.learning_rate, warmup=warmup)
        sizes = inner.rate * learned.factors().expand(inner.steps, -1)
        weights = step_weights(inner.steps, index, how=inner.loss_weights, horizon=float(outer.steps))
        tasks = drawn(index)
        slopes, sizes_slope, losses = maml.gradient(
            net,
            tasks,
            rates=sizes,
            step_weights=weights,
            order=inner.order,
            precision=compute.precision,
            parts=compute.accumulate,
        )
        own = [each * tasks.share for each in (sizes_slope, losses.mean(dim=0), *slopes.values())]
        processes.add_up(own)
        sizes_slope, means, *whole = own
        slope = dict(zip(slopes, whole, strict=True))
        for name, weight in net.named_parameters():
            weight.grad = slope[name]
        if inner.learn_rates:
            learned.descend(sizes_slope, sizes)
        nn.utils.clip_grad_norm_(net.parameters(), outer.clip)
        adam.step()
        return {"query_last": means[-1], "query_first": means[0]}

    state = {"net": net, "rates": learned, "optimiser": adam}
    curve = fit(step, steps=outer.steps, state=state, resumption=resumption, title=stream.name)
    return curve, learned.factors().cpu()


def step_weights(
    inner_steps: int, iteration: int, *, how: LossWeights, horizon: float = 10_000.0
) -> Float[Tensor, " n"]:
    """Weights w_j of the inner steps' query losses at a meta iteration (MZSR eq. 7).

    Args:
        how: `uniform` is what the released program does (its counter never advances), `annealed` is what paper and
            program mean (weight moves to the last step within a third of `horizon` iterations), `last` is plain MAML.
        horizon: meta iterations in all.
    """
    n = inner_steps
    weights = torch.full((n,), 1 / n, dtype=torch.float64)
    if how == "last":
        weights = torch.zeros(n, dtype=torch.float64)
        weights[-1] = 1.0
    elif how == "annealed":
        decay, least = 1 / n / (horizon / 3), 0.03 / n
        weights[:-1] = max(1 / n - iteration * decay, least)
        weights[-1] = min(1 / n + iteration * (n - 1) * decay, 1 - (n - 1) * least)
    return weights

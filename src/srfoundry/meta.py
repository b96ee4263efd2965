"""MZSR's training: pretraining, and meta-transfer training over kernel tasks.

Soh et al., "Meta-Transfer Learning for Zero-Shot Super-Resolution", CVPR 2020, phases 1 and 2. Inputs of the network
are enlarged low-resolution images (MATLAB bicubic, not clipped); every loss is a mean absolute error over all elements.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry import degrade, resize
from srfoundry.adaptation import Weights, mean_absolute_error
from srfoundry.dataset import Patches
from srfoundry.fit import Log, autocast, cosine, fit
from srfoundry.parallel import ahead
from srfoundry.seeds import generator

CLIP = 0.5  # of the outer gradient's norm: differentiating through inner steps makes rare, huge gradients


@dataclass(frozen=True)
class Tasks:
    """One meta-batch: enlarged inputs and their high-resolution targets, per task, [0, 1]."""

    support: Float[Tensor, "t n 3 p p"]
    support_high: Float[Tensor, "t n 3 p p"]
    query: Float[Tensor, "t n 3 p p"]
    query_high: Float[Tensor, "t n 3 p p"]


def kernel_pairs(
    high: Float[Tensor, "b 3 p p"], kernel: Float[Tensor, "n k k"], scale: int
) -> Float[Tensor, "b 3 p p"]:
    """Degrade directly with a kernel for all or for each, clip, and enlarge to the patch's size (MZSR sec. 3.2)."""
    low = degrade.degrade(high, kernel, scale).clamp(0, 1)
    return resize.cubic(low, scale, size=(high.shape[-2], high.shape[-1]))


def draw_tasks(
    patches: Patches,
    bank: Float[Tensor, "m k k"],
    *,
    tasks: int,
    shots: int,
    patch: int,
    scale: int,
    device: torch.device,
    rng: torch.Generator,
) -> Tasks:
    """Draw one meta-batch: each task is one kernel of the bank, with `shots` support and `shots` query patches."""
    chosen = bank[torch.randint(len(bank), (tasks,), generator=rng)].repeat_interleave(2 * shots, dim=0)
    high = patches.batch(tasks * 2 * shots, patch, rng=rng, factors=[1])[1].to(device)
    enlarged = kernel_pairs(high, chosen.to(device), scale)
    shaped = [
        image.contiguous(memory_format=torch.channels_last).reshape(tasks, 2, shots, *image.shape[1:])
        for image in (enlarged, high)
    ]
    return Tasks(shaped[0][:, 0], shaped[1][:, 0], shaped[0][:, 1], shaped[1][:, 1])


def task_loss(
    net: nn.Module,
    weights: Weights,
    tasks: Tasks,
    which: int,
    *,
    inner_rate: float,
    step_weights: Float[Tensor, " n"],
    order: str = "second",
    precision: str = "float32",
) -> tuple[Float[Tensor, ""], Float[Tensor, " n"]]:
    """MAML's objective for one task (MZSR eq. 6 and 7), and the query loss after each inner step.

    theta_j = theta_{j-1} - rate * grad L_support(theta_{j-1}); J = mean_j w_j L_query(theta_j). The mean over the steps
    is the released program's further 1/N.

    Args:
        step_weights: w_j, one for each inner step; their number is the number of inner steps.
        order: `second` differentiates through the inner gradients, `first` does not.
    """
    support, support_high = tasks.support[which], tasks.support_high[which]
    query, query_high = tasks.query[which], tasks.query_high[which]
    adapted, losses = weights, []
    for _ in range(len(step_weights)):
        inner = mean_absolute_error(net, adapted, support, support_high, precision)
        slope = torch.autograd.grad(inner, list(adapted.values()), create_graph=order == "second")
        adapted = {name: value - inner_rate * g for (name, value), g in zip(adapted.items(), slope, strict=True)}
        losses.append(mean_absolute_error(net, adapted, query, query_high, precision))
    each = torch.stack(losses)
    return (step_weights.to(each) * each).mean(), each.detach()


def step_weights(inner_steps: int, iteration: int, *, how: str, horizon: float = 10_000.0) -> Float[Tensor, " n"]:
    """Weights w_j of the inner steps' query losses at a meta iteration.

    `uniform` is what the released program does (its counter never advances), `annealed` is what paper and program mean
    (weight moves to the last step within a third of `horizon` iterations), `last` is plain MAML.
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


def train(
    net: nn.Module,
    pairs: Callable[..., tuple[Tensor, Tensor]],
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    title: str,
    device: torch.device,
    precision: str,
    checkpoint: Path,
    key: str,
    log: Log,
) -> list[dict[str, float]]:
    """Train on pairs with L1 (MZSR eq. 4; Adam, cosine to zero); returns the curve.

    Args:
        pairs: draws enlarged inputs and targets with a generator `rng`: `bicubic_pairs` (phase 1), or `blurred_pairs`,
            which MZSR has not: much of MAML's gain at a part of its cost.
    """
    net.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimiser = torch.optim.Adam(net.parameters(), lr=learning_rate)
    drawn = ahead(lambda index: pairs(rng=generator(seed, title, index)), depth=2 if device.type == "cuda" else 0)

    def step(index: int) -> Mapping[str, Tensor]:
        enlarged, high = drawn(index)
        for group in optimiser.param_groups:
            group["lr"] = cosine(index, steps, learning_rate, warmup=min(20, steps // 10))
        with autocast(device, precision):
            restored = net(enlarged.contiguous(memory_format=torch.channels_last))
        loss = (restored.float() - high).abs().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return {"loss": loss.detach()}

    state = {"net": net, "optimiser": optimiser}
    return fit(step, steps=steps, state=state, checkpoint=checkpoint, key=key, log=log, title=title)


def bicubic_pairs(
    patches: Patches, *, patch: int, batch: int, scale: int, device: torch.device, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw patches and their enlarged bicubic reductions."""
    drawn = patches.batch(batch, patch, rng=rng, factors=[1, scale])
    return resize.cubic(drawn[scale].to(device), scale), drawn[1].to(device)


def blurred_pairs(
    patches: Patches,
    bank: Float[Tensor, "m k k"],
    *,
    patch: int,
    batch: int,
    scale: int,
    device: torch.device,
    rng: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Draw patches and their reductions, each under a kernel of its own, enlarged."""
    kernels = bank[torch.randint(len(bank), (batch,), generator=rng)].to(device)
    high = patches.batch(batch, patch, rng=rng, factors=[1])[1].to(device)
    return kernel_pairs(high, kernels, scale), high


def metatrain(
    net: nn.Module,
    patches: Patches,
    bank: Float[Tensor, "m k k"],
    *,
    tasks: int,
    shots: int,
    patch: int,
    inner_steps: int,
    inner_rate: float,
    steps: int,
    learning_rate: float,
    order: str,
    loss_weights: str,
    scale: int,
    seed: int,
    device: torch.device,
    precision: str,
    checkpoint: Path,
    key: str,
    log: Log,
) -> list[dict[str, float]]:
    """Meta-transfer training (MZSR alg. 1): Adam on the mean of `task_loss` over the tasks of a meta-batch."""
    net.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimiser = torch.optim.Adam(net.parameters(), lr=learning_rate)

    def step(index: int) -> Mapping[str, Tensor]:
        rng = generator(seed, "metatrain", index)
        drawn = draw_tasks(patches, bank, tasks=tasks, shots=shots, patch=patch, scale=scale, device=device, rng=rng)
        weights = step_weights(inner_steps, index, how=loss_weights, horizon=float(steps))
        for group in optimiser.param_groups:
            group["lr"] = cosine(index, steps, learning_rate, warmup=min(10, steps // 10))
        optimiser.zero_grad(set_to_none=True)
        each = []
        for which in range(tasks):  # a task at a time: on a CPU faster than all batched, and memory is that of one
            objective, losses = task_loss(
                net,
                dict(net.named_parameters()),
                drawn,
                which,
                inner_rate=inner_rate,
                step_weights=weights,
                order=order,
                precision=precision,
            )
            (objective / tasks).backward()
            each.append(losses)
        nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        optimiser.step()
        means = torch.stack(each).mean(dim=0)
        return {"query_last": means[-1], "query_first": means[0]}

    state = {"net": net, "optimiser": optimiser}
    return fit(step, steps=steps, state=state, checkpoint=checkpoint, key=key, log=log, title="metatrain")

"""MZSR: pretraining, meta-transfer training over kernel tasks, and zero-shot adaptation to one image.

Soh et al., "Meta-Transfer Learning for Zero-Shot Super-Resolution", CVPR 2020. Inputs of the network are enlarged
low-resolution images (MATLAB bicubic, not clipped); every loss is a mean absolute error over all elements.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from srfoundry import degrade, images, metrics, resize
from srfoundry.dataset import Patches
from srfoundry.errors import FoundryError
from srfoundry.fit import Log, autocast, cosine, fit
from srfoundry.parallel import ahead
from srfoundry.seeds import generator

Weights = dict[str, Tensor]
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


def mean_absolute_error(
    net: nn.Module, weights: Weights, enlarged: Tensor, target: Tensor, precision: str = "float32"
) -> Float[Tensor, ""]:
    """Loss of the network with the given weights; the convolutions may run in bfloat16, the mean never does."""
    with autocast(enlarged.device, precision):
        restored = functional_call(net, weights, (enlarged,))
    return (restored.float() if restored.dtype == torch.bfloat16 else restored).sub(target).abs().mean()


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


def pretrain(
    net: nn.Module,
    patches: Patches,
    *,
    patch: int,
    batch: int,
    steps: int,
    learning_rate: float,
    scale: int,
    seed: int,
    device: torch.device,
    precision: str,
    checkpoint: Path,
    key: str,
    log: Log,
) -> list[dict[str, float]]:
    """Train on bicubic pairs with L1 (MZSR eq. 4); returns the curve."""

    def pairs(rng: torch.Generator) -> tuple[Tensor, Tensor]:
        drawn = patches.batch(batch, patch, rng=rng, factors=[1, scale])
        return resize.cubic(drawn[scale].to(device), scale), drawn[1].to(device)

    step, state = _plain_step(net, pairs, steps, learning_rate, (seed, "pretrain"), device, precision)
    return fit(step, steps=steps, state=state, checkpoint=checkpoint, key=key, log=log, title="pretrain")


def warm_up(
    net: nn.Module,
    patches: Patches,
    bank: Float[Tensor, "m k k"],
    *,
    patch: int,
    batch: int,
    steps: int,
    learning_rate: float,
    scale: int,
    seed: int,
    device: torch.device,
    precision: str,
    checkpoint: Path,
    key: str,
    log: Log,
) -> list[dict[str, float]]:
    """Train over kernel tasks without inner steps, one for each patch: much of MAML's gain at a part of its cost."""

    def pairs(rng: torch.Generator) -> tuple[Tensor, Tensor]:
        kernels = bank[torch.randint(len(bank), (batch,), generator=rng)].to(device)
        high = patches.batch(batch, patch, rng=rng, factors=[1])[1].to(device)
        return kernel_pairs(high, kernels, scale), high

    step, state = _plain_step(net, pairs, steps, learning_rate, (seed, "warm up"), device, precision)
    return fit(step, steps=steps, state=state, checkpoint=checkpoint, key=key, log=log, title="metatrain (warm-up)")


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


def adapt(
    net: nn.Module,
    low: Float[Tensor, "1 3 h w"],
    kernel: Float[Tensor, "1 k k"] | None,
    scale: int,
    *,
    rates: Sequence[float],
    weights: Weights | None = None,
    noise: float = 0.0,
    rng: torch.Generator | None = None,
) -> tuple[Weights, list[float]]:
    """Adapt to one image by plain gradient descent on its own LR son (MZSR alg. 2, lines 1 to 5).

    Args:
        kernel: the blur; None means that the image was made by MATLAB's bicubic.
        rates: step size of each step; their number is the number of steps.
        weights: where to start; the network's own if not given.
        noise: standard deviation of noise put on the son (helps on noisy images).

    Returns:
        The adapted weights, and the loss before each step. If a step diverges, the best weights so far are returned.

    Raises:
        FoundryError: the image is too small to have a son.
    """
    target = low[..., : low.shape[-2] // scale * scale, : low.shape[-1] // scale * scale]
    least = 8 * scale
    if min(target.shape[-2:]) < least:
        raise FoundryError(
            f"image of {tuple(low.shape[-2:])} is too small to adapt on; {least} pixels a side are the least"
        )
    son = degrade.son(target, kernel, scale, noise=noise, rng=rng)
    enlarged = resize.cubic(son, scale, size=(target.shape[-2], target.shape[-1]))
    enlarged = enlarged.contiguous(memory_format=torch.channels_last)  # a third faster on a CPU
    weights = {name: value.detach() for name, value in (weights or dict(net.named_parameters())).items()}
    best, losses = weights, []
    for rate in rates:
        weights = {name: value.detach().requires_grad_() for name, value in weights.items()}
        loss = mean_absolute_error(net, weights, enlarged, target)
        slope = torch.autograd.grad(loss, list(weights.values()))
        if not math.isfinite(float(loss.detach())) or (losses and float(loss.detach()) > 2 * losses[0]):
            return best, losses
        if not losses or float(loss.detach()) <= min(losses):
            best = {name: value.detach() for name, value in weights.items()}
        losses.append(float(loss.detach()))
        weights = {name: value - rate * g for (name, value), g in zip(weights.items(), slope, strict=True)}
    return {name: value.detach() for name, value in weights.items()}, losses


def restore(
    net: nn.Module, low: Float[Tensor, "1 3 h w"], scale: int, *, weights: Weights | None = None
) -> Float[Tensor, "1 3 H W"]:
    """Super-resolve with given (adapted) weights or the network's own; clipped to [0, 1]."""
    with torch.no_grad():
        enlarged = resize.cubic(low, scale).contiguous(memory_format=torch.channels_last)
        restored = net(enlarged) if weights is None else functional_call(net, weights, (enlarged,))
        return restored.clamp(0, 1)


def validate(
    net: nn.Module,
    patches: Patches,
    scale: int,
    *,
    device: torch.device,
    kernel: Float[Tensor, "1 k k"] | None = None,
    rates: Sequence[float] = (),
) -> dict[str, float]:
    """PSNR-Y in dB on whole photographs after adaptation to each, and its gain over MATLAB's bicubic.

    Args:
        kernel: photographs are degraded directly with it, to 8 bits; None means the set's own bicubic reduction.
        rates: step sizes of the adaptation; none means none.
    """
    restored, enlarged = 0.0, 0.0
    names = patches.photographs()
    for name in names:
        high = patches.image(name)
        low = patches.image(name, scale)
        if kernel is not None:
            low = images.from_uint8(images.to_uint8(degrade.degrade(high, kernel, scale)))
        low = low.to(device)
        weights, _ = adapt(net, low, kernel, scale, rates=rates)
        restored += metrics.psnr_y(restore(net, low, scale, weights=weights).cpu(), high, scale) / len(names)
        enlarged += metrics.psnr_y(resize.cubic(low, scale).cpu(), high, scale) / len(names)
    return {"psnr_y": restored, "bicubic_psnr_y": enlarged, "gain_db": restored - enlarged}


def _plain_step(
    net: nn.Module,
    pairs: Callable[[torch.Generator], tuple[Tensor, Tensor]],
    steps: int,
    learning_rate: float,
    names: tuple[int, str],
    device: torch.device,
    precision: str,
) -> tuple[Callable[[int], Mapping[str, Tensor]], dict[str, nn.Module | torch.optim.Optimizer]]:
    net.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimiser = torch.optim.Adam(net.parameters(), lr=learning_rate)
    drawn = ahead(lambda index: pairs(generator(*names, index)), depth=2 if device.type == "cuda" else 0)

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

    return step, {"net": net, "optimiser": optimiser}

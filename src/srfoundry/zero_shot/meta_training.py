"""MZSR's training: pretraining, and meta-transfer training over kernel tasks.

Soh et al., "Meta-Transfer Learning for Zero-Shot Super-Resolution", CVPR 2020, phases 1 and 2. Inputs of the network
are enlarged low-resolution images, not clipped; every loss is a mean absolute error over all elements.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.core.compute import autocast
from srfoundry.core.seeds import generator
from srfoundry.core.state import Log, Resumption
from srfoundry.imaging import resize
from srfoundry.imaging.patches import Patches
from srfoundry.training.loop import fit
from srfoundry.training.prefetch import ahead
from srfoundry.training.schedules import Schedule, rate
from srfoundry.zero_shot import maml
from srfoundry.zero_shot.kernel_tasks import Blurs

Support = Literal["patches", "son"]

RATE_SPEED = 30.0  # how much faster the logarithms of the step sizes are learned than the weights


def draw_tasks(
    patches: Patches,
    blurs: Sequence[Blurs],
    *,
    support: Support,
    tasks: int,
    shots: int,
    patch: int,
    device: torch.device,
    rng: torch.Generator,
) -> maml.Tasks:
    """Draw one meta-batch: each task is one kernel.

    Args:
        support: what a task adapts on, made in either case with the kernel that the network is told, while the query
            pairs are made with the true one: where the two differ, the net learns to adapt in spite of it.
            `patches`: `shots` other patches than the query's (MZSR): the kernel is all that they have in common.
            `son`: the query's reduced patches as targets of their own reductions, as at test time (where these are
            not rounded to 8 bits): image and scale too are what adaptation may learn from. A patch then is a multiple
            of the scale's square.
    """
    sets = 2 if support == "patches" else 1
    high = patches.batch(tasks * sets * shots, patch, rng=rng, factors=[1])[1].to(device)
    made = []
    for images in high.reshape(tasks, sets, shots, *high.shape[1:]):
        blur, which = pick(blurs, 1, rng)
        query = images[-1]
        if support == "patches":
            made.append((blur.pairs(images[0], which, told=True), images[0], blur.pairs(query, which), query))
        else:
            low = blur.reduce(query, which)
            enlarged = blur.enlarge(low, which, (patch, patch))
            made.append((blur.pairs(low, which, told=True), low, enlarged, query))
    return maml.Tasks(*(torch.stack(parts) for parts in zip(*made, strict=True)))


def pick(blurs: Sequence[Blurs], count: int, rng: torch.Generator) -> tuple[Blurs, Tensor]:
    """Draw one way of reducing, and `count` of its kernels."""
    chosen = blurs[int(torch.randint(len(blurs), (), generator=rng))]
    return chosen, torch.randint(len(chosen.true), (count,), generator=rng)


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
    schedule: Schedule,
    seed: int,
    title: str,
    device: torch.device,
    precision: str,
    checkpoint: Path,
    key: str,
    log: Log,
) -> list[dict[str, float]]:
    """Train on pairs with L1 (MZSR eq. 4; Adam); returns the curve.

    Args:
        pairs: draws enlarged inputs and targets with a generator `rng`: `bicubic_pairs` (phase 1), or `blurred_pairs`,
            which MZSR has not: much of MAML's gain at a part of its cost.
        schedule: of the learning rate, see fit.rate.
    """
    net.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimiser = torch.optim.Adam(net.parameters(), lr=learning_rate)
    drawn = ahead(lambda index: pairs(rng=generator(seed, title, index)), depth=2 if device.type == "cuda" else 0)

    def step(index: int) -> Mapping[str, Tensor]:
        enlarged, high = drawn(index)
        for group in optimiser.param_groups:
            group["lr"] = rate(schedule, index, steps, learning_rate, warmup=min(20, steps // 10))
        with autocast(device, precision):
            restored = net(enlarged.contiguous(memory_format=torch.channels_last))
        loss = (restored.float() - high).abs().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return {"loss": loss.detach()}

    state = {"net": net, "optimiser": optimiser}
    return fit(step, steps=steps, state=state, resumption=Resumption(checkpoint, key, log), title=title)


def bicubic_pairs(
    patches: Patches, *, patch: int, batch: int, scale: int, device: torch.device, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw patches and their enlarged bicubic reductions."""
    drawn = patches.batch(batch, patch, rng=rng, factors=[1, scale])
    return resize.cubic(drawn[scale].to(device), scale), drawn[1].to(device)


def blurred_pairs(
    patches: Patches, blurs: Sequence[Blurs], *, patch: int, batch: int, device: torch.device, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw patches and their reductions, each under a kernel of its own, enlarged."""
    blur, which = pick(blurs, batch, rng)
    high = patches.batch(batch, patch, rng=rng, factors=[1])[1].to(device)
    return blur.pairs(high, which), high


class Rates(nn.Module):
    """Step sizes of adaptation: a base, times a factor for each weight tensor that may be learned (Meta-SGD)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        count = sum(1 for _ in net.parameters())
        self.logarithm = nn.Parameter(torch.zeros(count))

    def factors(self) -> Float[Tensor, " w"]:
        """One factor for each of the net's weight tensors."""
        return self.logarithm.detach().exp()

    def learn(self, slope: Float[Tensor, "j w"], rates: Float[Tensor, "j w"]) -> None:
        """Take over the gradient with respect to the step sizes."""
        self.logarithm.grad = (slope * rates).sum(dim=0).to(self.logarithm)


def step_sizes(rates: Sequence[float], factors: Float[Tensor, " w"]) -> list[float] | list[list[float]]:
    """What adaptation takes: the rates themselves, or with learned factors one for each step and weight tensor."""
    if bool((factors == 1).all()):
        return list(rates)
    return [[rate * factor for factor in factors.tolist()] for rate in rates]


def metatrain(
    net: nn.Module,
    draw: Callable[..., maml.Tasks],
    *,
    inner_steps: int,
    inner_rate: float,
    learn_rates: bool,
    steps: int,
    learning_rate: float,
    schedule: Schedule,
    clip: float,
    order: maml.Order,
    loss_weights: str,
    seed: int,
    device: torch.device,
    precision: str,
    checkpoint: Path,
    key: str,
    log: Log,
) -> tuple[list[dict[str, float]], Float[Tensor, " w"]]:
    """Meta-transfer training (MZSR alg. 1): Adam on MAML's objective over the tasks of a meta-batch.

    Args:
        draw: draws a meta-batch with a generator `rng`, see draw_tasks.
        clip: largest norm of the outer gradient: differentiating through inner steps makes rare, huge ones.
        learn_rates: also train a factor of the inner step size for each weight tensor (Li et al., Meta-SGD, 2017).

    Returns:
        The curve, and the factors.
    """
    net.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    rates = Rates(net).to(device)
    groups = [{"params": list(net.parameters()), "speed": 1.0}]
    if learn_rates:
        groups.append({"params": list(rates.parameters()), "speed": RATE_SPEED})
    optimiser = torch.optim.Adam(groups, lr=learning_rate)
    drawn = ahead(lambda index: draw(rng=generator(seed, "metatrain", index)), depth=2 if device.type == "cuda" else 0)

    def step(index: int) -> Mapping[str, Tensor]:
        for group in optimiser.param_groups:
            group["lr"] = group["speed"] * rate(schedule, index, steps, learning_rate, warmup=min(10, steps // 10))
        sizes = inner_rate * rates.factors().expand(inner_steps, -1)
        weights = step_weights(inner_steps, index, how=loss_weights, horizon=float(steps))
        slope, sizes_slope, losses = maml.gradient(
            net, drawn(index), rates=sizes, step_weights=weights, order=order, precision=precision
        )
        for name, weight in net.named_parameters():
            weight.grad = slope[name]
        if learn_rates:
            rates.learn(sizes_slope, sizes)
        nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimiser.step()
        means = losses.mean(dim=0)
        return {"query_last": means[-1], "query_first": means[0]}

    state = {"net": net, "rates": rates, "optimiser": optimiser}
    curve = fit(step, steps=steps, state=state, resumption=Resumption(checkpoint, key, log), title="metatrain")
    return curve, rates.factors().cpu()

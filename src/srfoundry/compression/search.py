"""How many channels each inner width keeps: a differentiable search under a budget that is met (DRC).

A unit's width is a random one of a ladder (compress.relaxation). Channels are ranked by the L1 norm of their weights,
or of these times their activity, and channel c is multiplied by the probability that the width reaches its rank, so
that all widths share one layer. Two things differ from the released code, which bounds the ladder and leaves the rest
to chance: the expected cost (compress.budget) is differentiable and held to the budget by a Lagrangian, and the final
widths are the likeliest ones that meet it. They are chosen before the end: a mixture that meets a budget in expectation
is rarely one that has decided, and the last steps train the net that will be cut, on both halves.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from srfoundry.compression.budget import Budget, choose
from srfoundry.compression.importance import Importance, activities
from srfoundry.compression.relaxation import KINDS, Relaxation, mixed
from srfoundry.compression.selection import Selection
from srfoundry.core.state import Log, Resumption
from srfoundry.networks.sr.prunable import Unit, largest, masked
from srfoundry.training.loop import fit
from srfoundry.training.schedules import cosine

Batch = Mapping[int, Tensor]
Loss = Callable[[nn.Module, Batch], dict[str, Tensor]]
Draw = Callable[[int], Batch]
PENALTY = 20.0  # weight of the squared gap; the relative loss changes by a few per cent over the ladder
PRICE_RATE = 0.2  # the multiplier's step
LOOKED = 8  # batches in which activity is measured
DECIDED = 0.7  # of the steps: then channels are chosen, and both halves teach the weights to live with these alone


class Closed(nn.Module):
    """A loss as a module's forward, so that `functional_call` can put other weights in."""

    def __init__(self, net: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.net, self.loss = net, loss

    def forward(self, batch: Batch) -> Tensor:
        return self.loss(self.net, batch)["total"]


def outer_loss(
    net: nn.Module,
    loss: Loss,
    train: Batch,
    validation: Batch,
    *,
    order: Literal["first", "second"],
    inner_rate: float,
) -> Tensor:
    """L_val(w'(alpha), alpha), to be called inside `mixed`; its gradient in alpha is the search's.

    First order takes w' = w. Second order differentiates through w' = w - inner_rate * grad L_train(w, alpha), an exact
    Hessian-vector product by automatic differentiation (the released code's finite difference is off by a square). w
    are the net's weights; the dual nets stand still within this step.
    """
    closed = Closed(net, loss)
    if order == "first":
        return closed(validation)
    weights = {name: value for name, value in closed.named_parameters() if value.requires_grad}
    with sdpa_kernel(SDPBackend.MATH):  # the fused attentions have no second derivative
        gradients = torch.autograd.grad(closed(train), list(weights.values()), create_graph=True)
    moved = {name: value - inner_rate * g for (name, value), g in zip(weights.items(), gradients, strict=True)}
    return functional_call(closed, moved, (validation,))


def search(
    net: nn.Module,
    units: Sequence[Unit],
    loss: Loss,
    draw: tuple[Draw, Draw],
    *,
    budget: Budget,
    remove: float,
    tolerance: float,
    order: Literal["first", "second"],
    relaxation: Relaxation,
    importance: Importance,
    steps: int,
    learning_rate: float,
    width_rate: float,
    temperature: float,
    clip: float,
    rng: torch.Generator,
    trained: Sequence[nn.Module],
    checkpoint: Path,
    key: str,
    log: Log,
) -> tuple[list[Tensor], list[dict[str, float]]]:
    """Search the units' widths (DRC): alpha on one half of the photographs, the weights on the other, in turns.

    When the channels are chosen both halves are for the weights, in one batch.

    Args:
        draw: the batch of a step from either half, for the weights and for alpha: the same keys, images of one size.
        budget: the cost that is measured, with the ladders of widths to choose from.
        remove, tolerance: the fraction of that cost that must go, and how much more may.
        trained: the modules whose weights the loss trains (the net, its dual nets); they are changed in place. A run
            that resumes must be given them as the first was.
        relaxation: how probabilities of a unit's widths are made of alpha (compress.relaxation).
        temperature: of these probabilities when the widths are chosen (DECIDED); it falls from 1 geometrically.
        importance: what ranks a unit's channels: weights (DRC), or these times the activity that the channels had
            before the search (compress.activity).
        width_rate, learning_rate: Adam's rates for alpha (constant) and for the weights (cosine to zero).
        rng: for the first alpha.

    Returns:
        indices of the channels that stay, ascending, for each unit, with a removed fraction in [remove, remove +
        tolerance] where the ladders allow it, and the curve.

    Raises:
        FoundryError: even the narrowest widths remove less.
    """
    ladders = budget.ladders
    choose(budget, [torch.ones(len(steps)) for steps in ladders], remove=remove, tolerance=tolerance)  # or stop now
    device = next(net.parameters()).device
    target = remove + tolerance / 2
    widths = KINDS[relaxation](budget, target, rng=rng).to(device)
    weights = [value for module in trained for value in module.parameters() if value.requires_grad]
    inner = torch.optim.Adam(weights, lr=learning_rate, betas=(0.9, 0.99))
    outer = torch.optim.Adam(widths.parameters(), lr=width_rate, betas=(0.5, 0.99))

    until, kept = math.ceil(DECIDED * steps), Selection(net, units)
    flags = [kept.flags(index) for index in range(len(units))]
    # of the net as it was given: the same after a resumption
    active = activities(net, units, loss, map(draw[0], range(LOOKED))) if importance == "activation" else None

    def decide() -> None:
        chosen = choose(budget, widths.shares(temperature), remove=remove, tolerance=tolerance)
        for index, channels in enumerate(largest(net, units, chosen, active)):
            kept.mark(index, channels.tolist())

    def explore(heat: float, rate: float, train: Batch, validation: Batch) -> dict[str, Tensor | float]:
        """Move alpha, and return what the curve shows of it."""
        shares = widths.shares(heat)
        with mixed(net, units, ladders, shares, active):
            value = outer_loss(net, loss, train, validation, order=order, inner_rate=rate)
        removed = budget.expected_removed(shares)
        gap = target - removed
        # augmented Lagrangian on the relative loss; the price rises until the budget is met in expectation
        whole = value / value.detach() + widths.price * gap + PENALTY / 2 * gap.square()
        gradients = torch.autograd.grad(whole, list(widths.parameters()))
        for alpha, gradient in zip(widths.parameters(), gradients, strict=True):
            alpha.grad = gradient
        outer.step()
        widths.settle(heat)
        widths.price += PRICE_RATE * gap.detach()
        return {"validation": value.detach(), "removed": removed.detach(), "price": widths.price.clone()}

    def step(index: int) -> dict[str, Tensor | float]:
        train, validation = (half(index) for half in draw)
        rate = cosine(index, steps, learning_rate)
        if index < until:
            heat = temperature ** (index / max(1, until - 1))
            found = explore(heat, rate, train, validation)
            fixed = [share.detach() for share in widths.shares(heat)]
            found["entropy"] = torch.stack([-(p * p.clamp_min(1e-12).log()).sum() for p in fixed]).mean()
            batch, masks = train, mixed(net, units, ladders, fixed, active)
        else:
            if index == until:
                decide()
            found = {"removed": budget.removed([len(channels) for channels in kept.kept()])}
            batch = {factor: torch.cat([images, validation[factor]]) for factor, images in train.items()}
            masks = masked(net, units, flags)
        inner.zero_grad(set_to_none=True)
        for group in inner.param_groups:
            group["lr"] = rate
        with masks:
            terms = loss(net, batch)
        terms["total"].backward()
        nn.utils.clip_grad_norm_(weights, clip)
        inner.step()
        return {**found, "train": terms["total"].detach()}

    state = {"net": nn.ModuleList(trained), "widths": widths, "kept": kept, "inner": inner, "outer": outer}
    history = fit(step, steps=steps, state=state, resumption=Resumption(checkpoint, key, log), title="search")
    if until >= steps:  # no step was left to train what is decided
        decide()
    return kept.kept(), history

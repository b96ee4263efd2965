"""Which channels each filter group reads: masks and weights trained together under a budget, then settled (MSGC).

The released code lets a hinge pull the sampled masks to a target that falls over half of the training, thresholds what
comes out and hopes. Here the expected count is exact (compress.count) and held to the budget by a Lagrangian, and the
end is the likeliest choice whose true count is in the budget. Masks are drawn as

    s = sigmoid(z / T + l),   P(m = 1) = sigmoid(z / T)

with a falling T, as the search of widths has it, so that they become decisions. The published sigmoid((z + l) / T)
keeps P(m = 1) = sigmoid(z) at every T.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from srfoundry.compression.msgc.layer_pairs import Chain
from srfoundry.compression.msgc.conversion import Choice, freeze, settle
from srfoundry.compression.msgc.cost import Count
from srfoundry.compression.msgc.masked_conv import MSGConv2d, keep_probabilities, sampling
from srfoundry.compression.search import PENALTY, PRICE_RATE, Draw, Loss
from srfoundry.core.seeds import generator
from srfoundry.core.state import Log, Resumption
from srfoundry.training.loop import fit
from srfoundry.training.schedules import cosine

UNDECIDED = 2.2  # z / T within this are kept with a probability of 0.1 to 0.9
REACH = 5.0  # z / T goes no further: a probability of 0.007 to 0.993


class Price(nn.Module):
    """The Lagrange multiplier of the budget, as a state that is saved."""

    value: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.zeros(()))


def target(step: int, steps: int, end: float) -> float:
    """The share of the cost that may be there at a step (the release's tau): from 1 down to `end` at half time."""
    return 1 - (1 - end) * min(1.0, 2 * step / max(1, steps))


def search_masks(
    net: Any,
    chains: Sequence[Chain],
    loss: Loss,
    draw: Draw,
    *,
    count: Count,
    remove: float,
    tolerance: float,
    multiple: int,
    steps: int,
    learning_rate: float,
    mask_rate: float,
    temperature: float,
    clip: float,
    seed: tuple[int, str],
    trained: Sequence[nn.Module],
    checkpoint: Path,
    key: str,
    log: Log,
) -> tuple[list[Choice], list[dict[str, float]]]:
    """Train a wrapped net with static masks (msgc.wrap) and settle them; it ends frozen, ready for `convert`.

    Args:
        count: of the dense net; its `removed` fraction is what the budget is about.
        remove, tolerance: the fraction of the cost that must go, and how much more may.
        multiple: sizes that are settled on are multiples of it.
        learning_rate, mask_rate: Adam's for the weights (cosine to zero) and for the logits.
        temperature: T at the end; it falls from 1 geometrically.
        seed: what the noise of each step is derived from.
        trained: other modules that the loss trains (dual nets).

    Returns:
        what stays of each chain, and the curve.

    Raises:
        FoundryError: the smallest sizes remove less.
    """
    settle(net, chains, count, remove=remove, tolerance=tolerance, multiple=multiple)  # or stop now
    logits = [m.logits for m in net.modules() if isinstance(m, MSGConv2d) and m.logits is not None]
    own = {id(each) for each in logits}
    modules = [net, *trained]
    weights = [w for m in modules for w in m.parameters() if w.requires_grad and id(w) not in own]
    inner = torch.optim.Adam(weights, lr=learning_rate, betas=(0.9, 0.99))
    outer = torch.optim.Adam(logits, lr=mask_rate, betas=(0.5, 0.99))
    price = Price().to(weights[0].device)
    wanted = remove + tolerance / 2

    def step(index: int) -> dict[str, Tensor | float]:
        rng = generator(*seed, "masks", index)
        heat = temperature ** (index / max(1, steps - 1))
        with sampling(net, rng, temperature=1.0, heat=heat) as drawn:
            value = loss(net, draw(index))["total"]
        gradients = torch.autograd.grad(value, [*logits, *weights], allow_unused=True)
        removed = count.removed(chains, keep_probabilities(net, chains, heat))
        gap = (1 - target(index + 1, steps, 1 - wanted)) - removed.float()
        # augmented Lagrangian of gap <= 0: what is gone beyond the target of the moment is not pulled back
        short = torch.relu(gap + price.value / PENALTY)
        pull = torch.autograd.grad(PENALTY / 2 * short.square(), logits)
        for each, gradient, more in zip(logits, gradients, pull, strict=False):
            # of the relative loss, as the search of widths has it
            each.grad = more if gradient is None else gradient / value.detach() + more
        for each, gradient in zip(weights, gradients[len(logits) :], strict=True):
            each.grad = gradient
        for group in inner.param_groups:
            group["lr"] = cosine(index, steps, learning_rate)
        nn.utils.clip_grad_norm_(weights, clip)
        inner.step()
        outer.step()
        with torch.no_grad():
            for each in logits:  # where the sigmoid is flat, neither the loss nor the budget could move them any more
                each.clamp_(-REACH * heat, REACH * heat)
        price.value.add_(PRICE_RATE * gap.detach()).clamp_(min=0)
        drawn_removed = count.removed(chains, {name: mask.detach() for name, mask in drawn.items()})
        return {
            "train": value.detach(),
            "removed": removed.detach(),
            "drawn": drawn_removed,
            "price": price.value.clone(),
            "undecided": torch.cat([z.detach().flatten() for z in logits]).abs().lt(UNDECIDED * heat).float().mean(),
        }  # fmt: skip

    state = {"net": nn.ModuleList(modules), "price": price, "inner": inner, "outer": outer}
    history = fit(step, steps=steps, state=state, resumption=Resumption(checkpoint, key, log), title="masks")
    choices = settle(net, chains, count, remove=remove, tolerance=tolerance, multiple=multiple)
    freeze(net, chains, choices)
    return choices, history

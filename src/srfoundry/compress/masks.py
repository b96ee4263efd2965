"""Which channels each filter group reads: masks and weights trained together under a budget, then settled (MSGC).

The released code lets a hinge pull the sampled masks to a target that falls over half of the training, thresholds what
comes out and hopes. Here the expected count is exact (compress.count) and held to the budget by a Lagrangian, the
temperature falls so that masks become decisions, and the end is the likeliest choice whose true count is in the budget.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from srfoundry.compress.count import Count
from srfoundry.compress.grouped import Choice, freeze, settle
from srfoundry.compress.msgc import MSGConv2d, keep_probabilities, sampling
from srfoundry.compress.search import PENALTY, PRICE_RATE, Draw, Loss
from srfoundry.fit import Log, cosine, fit
from srfoundry.networks.chains import Chain
from srfoundry.seeds import generator

UNDECIDED = 2.2  # logits within this are kept with a probability of 0.1 to 0.9


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
        temperature: of the relaxed masks at the end; it falls from 1 geometrically.
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
        with sampling(net, rng, temperature ** (index / max(1, steps - 1))) as drawn:
            value = loss(net, draw(index))["total"]
        gradients = torch.autograd.grad(value, [*logits, *weights], allow_unused=True)
        removed = count.removed(chains, keep_probabilities(net, chains))
        gap = (1 - target(index + 1, steps, 1 - wanted)) - removed.float()
        pull = torch.autograd.grad(price.value * gap + PENALTY / 2 * gap.square(), logits)
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
        price.value += PRICE_RATE * gap.detach()
        drawn_removed = count.removed(chains, {name: mask.detach() for name, mask in drawn.items()})
        return {
            "train": value.detach(),
            "removed": removed.detach(),
            "drawn": drawn_removed,
            "price": price.value.clone(),
            "undecided": torch.cat([z.detach().flatten() for z in logits]).abs().lt(UNDECIDED).float().mean(),
        }  # fmt: skip

    state = {"net": nn.ModuleList(modules), "price": price, "inner": inner, "outer": outer}
    history = fit(step, steps=steps, state=state, checkpoint=checkpoint, key=key, log=log, title="masks")
    choices = settle(net, chains, count, remove=remove, tolerance=tolerance, multiple=multiple)
    freeze(net, chains, choices)
    return choices, history

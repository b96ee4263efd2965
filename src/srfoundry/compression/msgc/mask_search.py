"""Which channels each filter group reads: masks and weights trained together under a budget, then settled (MSGC).

The released code lets a hinge pull the sampled masks to a target that falls over half of the training, thresholds what
comes out and hopes. Here the expected count is exact (msgc.cost) and held to the budget by a Lagrangian, and the
end is the likeliest choice whose true count is in the budget. Masks are drawn as

    s = sigmoid(z / T + l),   P(m = 1) = sigmoid(z / T)

with a falling T, as the search of widths has it, so that they become decisions. The published sigmoid((z + l) / T)
keeps P(m = 1) = sigmoid(z) at every T.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from srfoundry.compression.msgc.cost import Count
from srfoundry.compression.msgc.layer_pairs import Choice, LayerPair
from srfoundry.compression.msgc.mask_choice import freeze, settle
from srfoundry.compression.msgc.masked_conv import MSGConv2d, keep_probabilities, sampling
from srfoundry.compression.search import PENALTY, PRICE_RATE, Draw, Parts
from srfoundry.compression.settings import BudgetTarget, SearchDescent
from srfoundry.core.process_group import ALONE
from srfoundry.core.seeds import Stream
from srfoundry.core.state import Resumption
from srfoundry.dual_regression.loss import Loss
from srfoundry.training.loop import fit
from srfoundry.training.prefetch import fed
from srfoundry.training.schedules import cosine

UNDECIDED = 2.2  # z / T within this are kept with a probability of 0.1 to 0.9
REACH = 5.0  # z / T goes no further: a probability of 0.007 to 0.993


class Price(nn.Module):
    """The Lagrange multiplier of the budget, as a state that is saved."""

    value: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.zeros(()))


def allowed_share(step: int, steps: int, end: float) -> float:
    """The share of the cost that may be there at a step (the release's tau): from 1 down to `end` at half time."""
    return 1 - (1 - end) * min(1.0, 2 * step / max(1, steps))


class MaskSearch:
    """The training of a wrapped net's static masks and weights together; the net ends frozen, ready for `convert`.

    Args:
        net: from `wrap`; trained in place.
        loss: of the net on a batch, `total`.
        count: of the dense net; its `removed` fraction is what the budget is about.
        target: what must be saved; sizes that are settled on are multiples of its `multiple`.
        descent: the rates of weights and of logits (`width_rate`), and T at the end.
        trained: other modules that the loss trains (dual nets).
        stream: of the noise of each step.

    Raises:
        FoundryError: the smallest sizes remove less.
    """

    def __init__(
        self,
        net: Any,
        pairs: Sequence[LayerPair],
        loss: Loss,
        count: Count,
        target: BudgetTarget,
        descent: SearchDescent,
        *,
        trained: Sequence[nn.Module],
        stream: Stream,
    ) -> None:
        settle(net, pairs, count, target)  # or stop now
        self.net, self.pairs, self.loss, self.count = net, pairs, loss, count
        self.target, self.descent, self.stream = target, descent, stream
        self.logits = [m.logits for m in net.modules() if isinstance(m, MSGConv2d) and m.logits is not None]
        own = {id(each) for each in self.logits}
        self.modules = nn.ModuleList([net, *trained])
        self.weights = [w for m in self.modules for w in m.parameters() if w.requires_grad and id(w) not in own]
        self.inner = torch.optim.Adam(self.weights, lr=descent.learning_rate, betas=(0.9, 0.99))
        self.outer = torch.optim.Adam(self.logits, lr=descent.width_rate, betas=(0.5, 0.99))
        self.price = Price().to(self.weights[0].device)
        self.processes = ALONE

    def run(self, draw: Draw, resumption: Resumption) -> tuple[list[Choice], list[dict[str, float]]]:
        """Train, then settle; what stays of each pair, and the curve.

        Args:
            draw: the batch of a step, in parts.
            resumption: where a killed search goes on from, and who watches it; its processes search together.
        """
        self.processes = resumption.processes
        self.processes.same_weights(self.modules)
        state = {"net": self.modules, "price": self.price, "inner": self.inner, "outer": self.outer}
        batch = fed(draw, self.weights[0].device)
        history = fit(
            lambda index: self.step(index, batch(index)),
            steps=self.descent.steps,
            state=state,
            resumption=resumption,
            title="masks",
        )
        choices = self.processes.agreed(settle(self.net, self.pairs, self.count, self.target))
        freeze(self.net, self.pairs, choices)
        return choices, history

    def step(self, index: int, parts: Parts) -> dict[str, Tensor | float]:
        """One step of weights, logits and price on masks that are drawn for it; what the curve shows."""
        heat, moved = self.descent.heat(index, self.descent.steps), [*self.logits, *self.weights]
        drawn: Mapping[str, Tensor] = {}
        total, gradients = torch.zeros((), device=moved[0].device), cast("list[Tensor | None]", [None] * len(moved))
        for batch, share in parts:
            rng = self.stream.rng("masks", index)  # the same masks for every part
            with sampling(self.net, rng, temperature=1.0, heat=heat) as masks:
                value = self.loss(self.net, batch)["total"]
            drawn = {name: mask.detach() for name, mask in masks.items()}
            own = torch.autograd.grad(value * share, moved, allow_unused=True)
            total = total + value.detach() * share
            gradients = [_added(old, new) for old, new in zip(gradients, own, strict=True)]
        self.processes.add_up([total, *(each for each in gradients if each is not None)])
        removed, gap = self._pull(index, heat, total, gradients)
        self._move_weights(index, gradients[len(self.logits) :])
        self.outer.step()
        with torch.no_grad():
            for each in self.logits:  # where the sigmoid is flat, neither loss nor budget could move them any more
                each.clamp_(-REACH * heat, REACH * heat)
        self.price.value.add_(PRICE_RATE * gap).clamp_(min=0)
        drawn_removed = self.count.removed(self.pairs, drawn)
        undecided = torch.cat([z.detach().flatten() for z in self.logits]).abs().lt(UNDECIDED * heat)
        return {
            "train": total,
            "removed": removed,
            "drawn": drawn_removed,
            "price": self.price.value.clone(),
            "undecided": undecided.float().mean(),
        }

    def _pull(
        self, index: int, heat: float, value: Tensor, gradients: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor]:
        """Give the logits the gradient of the relative loss and of the budget; what is gone, and what that lacks."""
        removed = self.count.removed(self.pairs, keep_probabilities(self.net, self.pairs, heat))
        allowed = allowed_share(index + 1, self.descent.steps, 1 - self.target.middle)
        gap = (1 - allowed) - removed.float()
        # augmented Lagrangian of gap <= 0: what is gone beyond the target of the moment is not pulled back
        short = torch.relu(gap + self.price.value / PENALTY)
        pull = torch.autograd.grad(PENALTY / 2 * short.square(), self.logits)
        for each, gradient, more in zip(self.logits, gradients, pull, strict=False):
            # of the relative loss, as the search of widths has it
            each.grad = more if gradient is None else gradient / value + more
        return removed.detach(), gap.detach()

    def _move_weights(self, index: int, gradients: Sequence[Tensor | None]) -> None:
        for each, gradient in zip(self.weights, gradients, strict=True):
            each.grad = gradient
        for group in self.inner.param_groups:
            group["lr"] = cosine(index, self.descent.steps, self.descent.learning_rate)
        nn.utils.clip_grad_norm_(self.weights, self.descent.clip)
        self.inner.step()


def _added(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return other if one is None else one if other is None else one + other

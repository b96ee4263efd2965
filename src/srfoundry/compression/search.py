"""How many channels each inner width keeps: a differentiable search under a budget that is met (DRC).

A unit's width is a random one of a ladder (compression.relaxation). Channels are ranked by the L1 norm of their
weights, or of these times their activity, and channel c is multiplied by the probability that the width reaches its
rank, so that all widths share one layer. Two things differ from the released code, which bounds the ladder and leaves
the rest to chance: the expected cost (compression.budget) is differentiable and held to the budget by a Lagrangian, and
the final widths are the likeliest ones that meet it. They are chosen before the end: a mixture that meets a budget in
expectation is rarely one that has decided, and the last steps train the net that will be cut, on both halves.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from srfoundry.compression.budget import Budget
from srfoundry.compression.importance import activities
from srfoundry.compression.kept_channels import KeptChannels
from srfoundry.compression.relaxation import RELAXATIONS, mixed
from srfoundry.compression.settings import BudgetTarget, SearchDescent, WidthModel
from srfoundry.compression.width_choice import choose
from srfoundry.core.process_group import ALONE, Processes
from srfoundry.core.state import Resumption
from srfoundry.dual_regression.batch import Batch, joined
from srfoundry.dual_regression.loss import Loss
from srfoundry.networks.sr.prunable import largest, masked
from srfoundry.training.loop import fit
from srfoundry.training.optimiser import gradients_in_parts
from srfoundry.training.prefetch import fed
from srfoundry.training.schedules import cosine

Parts = Sequence[tuple[Batch, float]]  # of a process's rows of a batch: each with its share of the batch's rows
Draw = Callable[[int], Parts]
PENALTY = 20.0  # weight of the squared gap; the relative loss changes by a few per cent over the ladder
PRICE_RATE = 0.2  # the multiplier's step
LOOKED = 8  # batches in which activity is measured
DECIDED = 0.7  # of the steps: then channels are chosen, and both halves train the weights for these alone


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
    processes: Processes = ALONE,
    share: float = 1.0,
) -> Tensor:
    """L_val(w'(alpha), alpha), to be called inside `mixed`; its gradient in alpha is the search's.

    First order takes w' = w. Second order differentiates through w' = w - inner_rate * grad L_train(w, alpha), an exact
    Hessian-vector product by automatic differentiation (the released code's finite difference is off by a square). w
    are the net's weights; the dual nets stand still within this step.

    Args:
        train: the batch of the virtual step; unused in first order.
        validation: the batch of the loss.
        inner_rate: of the virtual step.
        processes: that have rows of both batches; the virtual step is down the gradient of all of them.
        share: of the rows that are this process's.
    """
    closed = Closed(net, loss)
    if order == "first":
        return closed(validation)
    weights = {name: value for name, value in closed.named_parameters() if value.requires_grad}
    with sdpa_kernel(SDPBackend.MATH):  # the fused attentions have no second derivative
        own = torch.autograd.grad(closed(train) * share, list(weights.values()), create_graph=True)
    gradients = processes.summed_together(own)
    moved = {name: value - inner_rate * g for (name, value), g in zip(weights.items(), gradients, strict=True)}
    return functional_call(closed, moved, (validation,))


class WidthSearch:
    """The search of a net's widths (DRC): alpha on one half of the photographs, the weights on the other, in turns.

    When the channels are chosen both halves are for the weights, in one batch.

    Args:
        net: lists its units; it is trained in place.
        loss: of the net on a batch, `total`.
        budget: the cost that is measured, with the ladders of widths to choose from.
        target: the fraction of that cost that must go.
        model: how a width is relaxed, and what ranks channels: weights (DRC), or these times the activity that the
            channels had before the search (compression.importance).
        descent: rates of weights and alpha, and the temperature of the probabilities when the widths are chosen
            (DECIDED).
        trained: the modules whose weights the loss trains (the net, its dual nets), in place. A run that resumes must
            be given them as the first was.
        rng: for the first alpha.

    Raises:
        FoundryError: even the narrowest widths remove less.
    """

    def __init__(
        self,
        net: Any,
        loss: Loss,
        budget: Budget,
        target: BudgetTarget,
        model: WidthModel,
        descent: SearchDescent,
        *,
        trained: Sequence[nn.Module],
        rng: torch.Generator,
    ) -> None:
        certain = [torch.ones(len(steps)) for steps in budget.ladders]
        choose(budget, certain, target)  # or stop now
        self.net, self.units, self.loss = net, net.units(), loss
        self.budget, self.target, self.model, self.descent = budget, target, model, descent
        self.trained = nn.ModuleList(trained)
        relaxation = RELAXATIONS[model.relaxation]
        self.widths = relaxation(budget, target.middle, rng=rng).to(next(net.parameters()).device)
        self.weights = [value for value in self.trained.parameters() if value.requires_grad]
        self.inner = torch.optim.Adam(self.weights, lr=descent.learning_rate, betas=(0.9, 0.99))
        self.outer = torch.optim.Adam(self.widths.parameters(), lr=descent.width_rate, betas=(0.5, 0.99))
        self.kept = KeptChannels(net, self.units)
        self.active: list[Tensor] | None = None
        self.until = math.ceil(DECIDED * descent.steps)
        self.processes = ALONE

    def run(self, draws: tuple[Draw, Draw], resumption: Resumption) -> list[dict[str, float]]:
        """Search, then train what was decided; `kept` holds the channels that stay, and the curve is returned.

        Args:
            draws: the batch of a step from either half, for the weights and for alpha, in parts: the same keys, images
                of one size, the same number of rows. One part in second order.
            resumption: where a killed search goes on from, and who watches it; its processes search together.
        """
        self.processes = resumption.processes
        self.processes.same_weights(self.trained, self.widths)
        if self.model.importance == "activation":
            # of the net as it was given: the same after a resumption
            looked = [part for index in range(LOOKED) for part in draws[0](index)]
            shares = [share for _, share in looked[: len(looked) // LOOKED]]
            shown = (batch for batch, _ in looked)
            self.active = activities(self.net, self.units, self.loss, shown, processes=self.processes, parts=shares)
        state = {
            "net": self.trained,
            "widths": self.widths,
            "kept": self.kept,
            "inner": self.inner,
            "outer": self.outer,
        }

        both = fed(lambda index: (draws[0](index), draws[1](index)), self.weights[0].device)

        def step(index: int) -> dict[str, Tensor | float]:
            train, validation = both(index)
            if index < self.until:
                return self.explore(index, train, validation)
            if index == self.until:
                self.decide()
            return self.settle(index, train, validation)

        history = fit(step, steps=self.descent.steps, state=state, resumption=resumption, title="search")
        if self.until >= self.descent.steps:  # no step was left to train what is decided
            self.decide()
        return history

    def explore(self, index: int, train: Parts, validation: Parts) -> dict[str, Tensor | float]:
        """Move alpha, then the weights under the mixture that it now says; what the curve shows."""
        heat = self.descent.heat(index, self.until)
        found = self.move_alpha(index, heat, train, validation)
        shares = [share.detach() for share in self.widths.shares(heat)]
        found["entropy"] = torch.stack([-(p * p.clamp_min(1e-12).log()).sum() for p in shares]).mean()
        found["train"] = self.move_weights(index, train, self.mixture(shares))
        return found

    def move_alpha(self, index: int, heat: float, train: Parts, validation: Parts) -> dict[str, Tensor | float]:
        """One step of alpha on the validation half, and of the price on the gap between expected cost and budget."""
        shares, price = self.widths.shares(heat), self.widths.price
        total, slopes = self._relative(shares, index, train, validation)
        removed = self.budget.expected_removed(shares)
        gap = self.target.middle - removed
        # augmented Lagrangian on the relative loss; the price rises until the budget is met in expectation
        part = 1 / self.processes.count  # of the budget's terms, which all processes have
        bound = part * price * gap + part * PENALTY / 2 * gap.square()
        gradients = torch.autograd.grad([*shares, bound], list(self.widths.parameters()), [*slopes, None])
        self.processes.add_up(gradients)
        for alpha, gradient in zip(self.widths.parameters(), gradients, strict=True):
            alpha.grad = gradient
        self.outer.step()
        self.widths.settle(heat)
        price += PRICE_RATE * gap.detach()
        return {"validation": total, "removed": removed.detach(), "price": price.clone()}

    def _relative(
        self, shares: Sequence[Tensor], index: int, train: Parts, validation: Parts
    ) -> tuple[Tensor, list[Tensor]]:
        """The loss on the validation half, and the gradient of this process's part of it over that whole loss.

        Args:
            shares: the probabilities that the gradient is in.
        """
        free = [share.detach().requires_grad_() for share in shares]
        slopes, total = [torch.zeros_like(share) for share in free], free[0].new_zeros(())
        with self.mixture(free):
            for (batch, _), (judged, share) in zip(train, validation, strict=True):
                value = outer_loss(
                    self.net,
                    self.loss,
                    batch,
                    judged,
                    order=self.model.order,
                    inner_rate=self._rate(index),
                    processes=self.processes,
                    share=share,
                )
                more = value.detach() * share
                self.processes.add_up([more])
                before, total = total, total + more
                # within the mixture: checkpointed blocks run once more
                own = torch.autograd.grad(value * share / total, free)
                slopes = [slope * (before / total) + new for slope, new in zip(slopes, own, strict=True)]
        return total, slopes

    def move_weights(self, index: int, parts: Parts, masks: AbstractContextManager[None]) -> Tensor:
        """One step of the weights, the channels multiplied as `masks` says; the loss before it."""
        for group in self.inner.param_groups:
            group["lr"] = self._rate(index)
        terms = (({"total": self.loss(self.net, batch)["total"]}, share) for batch, share in parts)
        with masks:  # checkpointed blocks run once more
            whole = gradients_in_parts(self.processes, self.weights, terms)
        nn.utils.clip_grad_norm_(self.weights, self.descent.clip)
        self.inner.step()
        return whole["total"]

    def decide(self) -> None:
        """Choose the likeliest widths that meet the budget, and of each unit the channels that matter most."""
        chosen = choose(self.budget, self.widths.shares(self.descent.temperature), self.target)
        found = [channels.tolist() for channels in largest(self.net, self.units, chosen, self.active)]
        for index, channels in enumerate(self.processes.agreed(found)):  # hosts may round differently
            self.kept.mark(index, channels)

    def settle(self, index: int, train: Parts, validation: Parts) -> dict[str, Tensor | float]:
        """Train the net that will be cut, on both halves."""
        removed = self.budget.removed(self.kept.widths())
        batch = [(joined(one, other), share) for (one, share), (other, _) in zip(train, validation, strict=True)]
        masks = masked(self.net, self.units, self.kept.factors())
        return {"removed": removed, "train": self.move_weights(index, batch, masks)}

    def mixture(self, shares: Sequence[Tensor]) -> AbstractContextManager[None]:
        """Within, all widths of the ladders share the layers, by these probabilities."""
        return mixed(self.net, self.units, self.budget.ladders, shares, self.active)

    def _rate(self, index: int) -> float:
        return cosine(index, self.descent.steps, self.descent.learning_rate)

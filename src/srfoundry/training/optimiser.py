"""How a trained network's weights move: Adam, its gradient clipped, broken batches skipped, the weights averaged."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from srfoundry.core.process_group import ALONE, Processes
from srfoundry.core.state import Stateful
from srfoundry.training.settings import Descent

CPU = torch.device("cpu")
REMEMBERED = 100  # losses whose mean is what a batch is held against
ENOUGH = 10  # losses before any batch is


class Guard:
    """Which batches to skip: those whose loss is `factor` times the mean of the last ones that were taken, or more.

    DRN's rule (1e6 times, against the mean of the epoch before), for batches that a damaged photograph spoils. It is
    decided where the loss is: no step waits for a GPU.

    Args:
        factor: of the mean.
        device: where the losses are.
    """

    def __init__(self, factor: float, device: torch.device = CPU) -> None:
        self.factor, self.device = factor, device
        self.load_state_dict({"taken": []})

    def skips(self, loss: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """1 to skip the batch with this loss, else 0, and it is remembered."""
        loss = loss.double()
        takes = (self.count < ENOUGH) | (loss < self.factor * self.taken.sum() / self.count)
        self.taken = torch.where(takes, torch.cat([self.taken[1:], loss.view(1)]), self.taken)
        self.count = (self.count + takes).clamp(max=REMEMBERED)
        return (~takes).float()

    def state_dict(self) -> dict[str, Any]:
        """The remembered losses."""
        return {"taken": self.taken[REMEMBERED - int(self.count) :].tolist()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up remembered losses."""
        known = state_dict["taken"]
        self.taken = torch.tensor([0.0] * (REMEMBERED - len(known)) + known, dtype=torch.float64, device=self.device)
        self.count = torch.tensor(len(known), device=self.device)


def gradients_in_parts(
    processes: Processes, weights: Sequence[Tensor], parts: Iterable[tuple[Mapping[str, Tensor], float]]
) -> dict[str, Tensor]:
    """Give weights the gradient of the whole batch's `total`, a part after the other (gradient accumulation).

    On a CPU the parts' gradients are summed in float64 and rounded once, so that their order does not count: as many
    parts give the same numbers, whichever process computes which of them.

    Args:
        processes: that train together.
        weights: whose `grad` is replaced; that of a weight that no loss reaches is None in all processes.
        parts: of this process's rows of the batch: the terms of each, means over its rows, and its share of the batch's
            rows. Where they are made one by one, the activations of one part alone are in memory.

    Returns:
        The terms of the whole batch, detached, the same in all processes.
    """
    exact, own = weights[0].device.type == "cpu", dict[str, Tensor]()
    slopes: list[Tensor | None] = [None] * len(weights)
    for terms, share in parts:
        for weight in weights:
            weight.grad = None
        (terms["total"] * share).backward()
        slopes = [_added(old, weight.grad, exact) for old, weight in zip(slopes, weights, strict=True)]
        for name, value in terms.items():
            own[name] = cast("Tensor", _added(own.get(name), value.detach() * share, exact))
    if processes.count > 1:
        if exact:
            own = {name: value.double() for name, value in own.items()}
            slopes = [None if slope is None else slope.double() for slope in slopes]
        processes.add_up([*own.values(), *(slope for slope in slopes if slope is not None)])
    for weight, slope in zip(weights, slopes, strict=True):
        weight.grad = None if slope is None else slope.to(weight.dtype)
    return {name: value.to(weights[0].dtype) for name, value in own.items()}


def _added(before: Tensor | None, more: Tensor | None, exact: bool) -> Tensor | None:
    """A sum of which either part may be missing; in float64, if `exact`, once there is something to add."""
    if before is None or more is None:
        return more if before is None else before
    return (before.double() if exact else before).add_(more)


class Optimisation:
    """One step of Adam over a network and the nets that are trained beside it, and all the state that a step moves.

    Args:
        net: whose weights are averaged.
        duals: trained along with it, not averaged; may be empty.
        descent: its first rate, the decay of the average, and the largest norm of the gradient.
        betas: of Adam.
        skip: a batch is skipped whose loss is this many times the running mean; 0 takes every batch. With it, the
            terms of an update gain `skipped`, 0 or 1; of a skipped batch the others, perhaps not finite, are void
            (`loop.fit` leaves them out).
        fused: Adam in one pass over the weights; rounds differently. With `skip` it always is.
        processes: that train together: they begin with the first one's weights, and take the same steps.

    Attributes:
        state: by name the nets, their average, the optimiser and the guard, if there is one: what a checkpoint holds.
    """

    def __init__(
        self,
        net: nn.Module,
        duals: nn.Module,
        descent: Descent,
        *,
        betas: tuple[float, float] = (0.9, 0.99),
        skip: float = 0.0,
        fused: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        self.net, self.clip, self.processes = net, descent.clip, processes
        processes.same_weights(net, duals)
        self.weights = [weight for weight in (*net.parameters(), *duals.parameters()) if weight.requires_grad]
        self.average = AveragedModel(net, multi_avg_fn=_averaging(descent.average, lambda: self.skipped))
        self.adam = torch.optim.Adam(self.weights, lr=descent.learning_rate, betas=betas, fused=fused or skip > 0)
        self.guard = Guard(skip, self.weights[0].device) if skip > 0 else None
        self.skipped: Tensor | None = None
        self.state: dict[str, Stateful] = {
            "net": net,
            "duals": duals,
            "average": self.average,
            "optimiser": self.adam,
            **({"guard": self.guard} if self.guard else {}),
        }

    def update(self, terms: Mapping[str, Tensor], rate: float, share: float = 1.0) -> dict[str, Tensor]:
        """Step down the gradient of `terms["total"]` at a learning rate, unless the batch is to be skipped.

        Args:
            terms: means over this process's rows.
            rate: the learning rate.
            share: of the batch's rows that are this process's (`Processes.share`).

        Returns:
            The terms, detached, for the curve; of the whole batch.
        """
        return self.update_in_parts([(terms, share)], rate)

    def update_in_parts(self, parts: Iterable[tuple[Mapping[str, Tensor], float]], rate: float) -> dict[str, Tensor]:
        """As `update`, down the sum of the gradients of this process's parts of the batch.

        Args:
            parts: as in `gradients_in_parts`.
            rate: the learning rate.
        """
        for group in self.adam.param_groups:
            group["lr"] = rate
        whole = gradients_in_parts(self.processes, self.weights, parts)
        if self.guard:
            # Adam leaves weights and moments as they are where this is 1, on the device (made for scaled gradients)
            self.skipped = self.guard.skips(whole["total"])
            self.adam.found_inf = self.skipped  # pyright: ignore[reportAttributeAccessIssue]
        nn.utils.clip_grad_norm_(self.weights, self.clip)
        self.adam.step()
        self.average.update_parameters(self.net)
        return whole if self.skipped is None else {**whole, "skipped": self.skipped}

    def finish(self) -> None:
        """Load the averaged weights into the network."""
        self.net.load_state_dict(self.average.module.state_dict())


def _averaging(decay: float, skipped: Callable[[], Tensor | None]) -> Callable[..., None]:
    """An exponential average of weights that stands still where a step is skipped, and does not wait to know it."""
    moving = get_ema_multi_avg_fn(decay)

    def average(averages: list[Tensor], weights: list[Tensor], number: Tensor | int) -> None:
        skip = skipped()
        before = None if skip is None else [each.clone() for each in averages]
        moving(averages, weights, number)
        if skip is not None and before is not None:
            for each, old in zip(averages, before, strict=True):
                each.copy_(torch.where(skip > 0, old, each))

    return average

"""How a trained network's weights move: Adam, its gradient clipped, broken batches skipped, the weights averaged."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from srfoundry.core.process_group import ALONE, Processes
from srfoundry.core.state import Stateful
from srfoundry.training.settings import Descent

REMEMBERED = 100  # losses whose mean is what a batch is held against
ENOUGH = 10  # losses before any batch is


class Guard:
    """Which batches to skip: those whose loss is `factor` times the mean of the last ones that were taken, or more.

    DRN's rule (1e6 times, against the mean of the epoch before), for batches that a damaged photograph spoils.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.taken: deque[float] = deque(maxlen=REMEMBERED)

    def skips(self, loss: float) -> bool:
        """Whether to skip the batch with this loss; it is remembered if not."""
        if len(self.taken) >= ENOUGH and not loss < self.factor * sum(self.taken) / len(self.taken):
            return True
        self.taken.append(loss)
        return False

    def state_dict(self) -> dict[str, Any]:
        """The remembered losses."""
        return {"taken": list(self.taken)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up remembered losses."""
        self.taken = deque(state_dict["taken"], maxlen=REMEMBERED)


def mean_over_processes(
    processes: Processes, terms: Mapping[str, Tensor], weights: Sequence[Tensor], share: float
) -> dict[str, Tensor]:
    """Add up what each process has of a step: its share of the loss terms, and the gradients of its share of the loss.

    Args:
        processes: that train together.
        terms: means over this process's rows.
        weights: whose `grad` becomes the whole batch's, in place; that of a weight that no loss reaches is None in all
            processes.
        share: of the rows that are this process's.

    Returns:
        The terms of the whole batch, detached, the same in all processes.
    """
    if processes.count == 1:
        return {name: value.detach() for name, value in terms.items()}
    whole = {name: value.detach() * share for name, value in terms.items()}
    processes.add_up([*whole.values(), *(weight.grad for weight in weights if weight.grad is not None)])
    return whole


def gradients_in_parts(
    processes: Processes, weights: Sequence[Tensor], parts: Iterable[tuple[Mapping[str, Tensor], float]]
) -> dict[str, Tensor]:
    """Give weights the gradient of the whole batch's `total`, a part after the other (gradient accumulation).

    Args:
        processes: that train together.
        weights: whose `grad` is replaced.
        parts: of this process's rows of the batch: the terms of each, means over its rows, and its share of the batch's
            rows. Where they are made one by one, the activations of one part alone are in memory.

    Returns:
        The terms of the whole batch, detached, the same in all processes.
    """
    for weight in weights:
        weight.grad = None
    own: dict[str, Tensor] = {}
    for terms, share in parts:
        (terms["total"] * share).backward()
        for name, value in terms.items():
            weighted = value.detach() * share
            own[name] = own[name] + weighted if name in own else weighted
    return mean_over_processes(processes, own, weights, 1.0)


class Optimisation:
    """One step of Adam over a network and the nets that are trained beside it, and all the state that a step moves.

    Args:
        net: whose weights are averaged.
        duals: trained along with it, not averaged; may be empty.
        descent: its first rate, the decay of the average, and the largest norm of the gradient.
        betas: of Adam.
        skip: a batch is skipped whose loss is this many times the running mean; 0 takes every batch. With it, the
            terms of an update gain `skipped`, 0 or 1; of a skipped batch it is all that is returned.
        fused: Adam in one pass over the weights; rounds differently.
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
        self.average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(descent.average))
        self.adam = torch.optim.Adam(self.weights, lr=descent.learning_rate, betas=betas, fused=fused)
        self.guard = Guard(skip) if skip > 0 else None
        self.state: dict[str, Stateful] = {
            "net": net,
            "duals": duals,
            "average": self.average,
            "optimiser": self.adam,
            **({"guard": self.guard} if self.guard else {}),
        }

    def update(self, terms: Mapping[str, Tensor], rate: float, share: float = 1.0) -> dict[str, Tensor | float]:
        """Step down the gradient of `terms["total"]` at a learning rate, unless the batch is to be skipped.

        Args:
            terms: means over this process's rows.
            rate: the learning rate.
            share: of the batch's rows that are this process's (`Processes.share`).

        Returns:
            The terms, detached, for the curve; of the whole batch.
        """
        return self.update_in_parts([(terms, share)], rate)

    def update_in_parts(
        self, parts: Iterable[tuple[Mapping[str, Tensor], float]], rate: float
    ) -> dict[str, Tensor | float]:
        """As `update`, down the sum of the gradients of this process's parts of the batch.

        Args:
            parts: as in `gradients_in_parts`.
            rate: the learning rate.
        """
        for group in self.adam.param_groups:
            group["lr"] = rate
        whole = gradients_in_parts(self.processes, self.weights, parts)
        if self.guard and self.guard.skips(float(whole["total"])):
            return {"skipped": 1.0}  # its loss, perhaps not finite, is no point of the curve
        found: dict[str, Tensor | float] = {**whole}
        nn.utils.clip_grad_norm_(self.weights, self.clip)
        self.adam.step()
        self.average.update_parameters(self.net)
        return {**found, "skipped": 0.0} if self.guard else found

    def finish(self) -> None:
        """Load the averaged weights into the network."""
        self.net.load_state_dict(self.average.module.state_dict())

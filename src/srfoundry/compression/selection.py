"""Which channels stay: greedy selection by feature and dual-regression loss, one unit after another (DRC).

For the consumer layer of each unit, with earlier units already sparse, channels are added to an empty selection where
the gradient of the loss says that they are missed most, take back the weights that they had, and are tuned together
for one pass over a few batches. The paper adds one channel a round; several a round is the same method with coarser
steps. `thin` then makes the smaller net.

The net that is made sparse need not be the dense one whose features are wanted: it may be the net that the search
trained, which has learned to live without the lesser channels.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from srfoundry.compression.kept_channels import KeptChannels
from srfoundry.compression.settings import GreedySelection
from srfoundry.core.errors import Diverged
from srfoundry.core.state import Resumption
from srfoundry.dual_regression.batch import Batch
from srfoundry.dual_regression.loss import Loss
from srfoundry.networks.sr.prunable import Unit, consumer_columns, end_of, masked, width_of
from srfoundry.training.loop import fit

RETRIES = 4
EXPLODED = 2.0  # a selection whose loss is this many times that of no channels at all has diverged


@contextmanager
def output_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """Within, the list holds the latest output of a consumer (what a producer makes is changed in place)."""
    seen: list[Tensor] = []

    def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen[:] = [output]

    handle = module.register_forward_hook(hook)
    try:
        yield seen
    finally:
        handle.remove()


@contextmanager
def only_trained(net: nn.Module, trained: Sequence[Tensor]) -> Iterator[None]:
    """Within, the backward pass computes gradients of these parameters alone (and stops above the first of them)."""
    before = {parameter: parameter.requires_grad for parameter in net.parameters()}
    wanted = {id(parameter) for parameter in trained}
    for parameter in before:
        parameter.requires_grad_(id(parameter) in wanted)
    try:
        yield
    finally:
        for parameter, flag in before.items():
            parameter.requires_grad_(flag)
            parameter.grad = None


def missed(weight_gradient: Tensor, spans: int) -> Tensor:
    """How much each channel is missed: the Frobenius norms of its kernels' gradients, summed over outputs and spans."""
    kernels = weight_gradient.reshape(*weight_gradient.shape[:2], -1).norm(dim=2)
    return kernels.sum(dim=0).reshape(spans, -1).sum(dim=0)


class UnitSelection:
    """One unit's channels, filled from empty, in place (DRC's l0-constrained greedy selection).

    The objective is L_M + L_P + weight * L_D, with L_M the mean squared error of the consumer's output.

    Args:
        net: the net so far, earlier units sparse, this one whole; it ends with weights on the chosen channels only.
        dense: the untouched net, for the wanted features (its clean path).
        feature_weight: of L_M.
    """

    def __init__(
        self, net: nn.Module, dense: nn.Module, unit: Unit, batches: Sequence[Batch], loss: Loss, feature_weight: float
    ) -> None:
        self.net, self.unit, self.batches, self.loss = net, unit, batches, loss
        self.feature_weight = feature_weight
        self.consumer, self.full = end_of(net, unit.consumer), width_of(net, unit)
        self.trained = [self.consumer.weight] + ([] if self.consumer.bias is None else [self.consumer.bias])
        self.first = [value.detach().clone() for value in self.trained]
        self.flags = torch.zeros(self.full, device=self.consumer.weight.device)
        self.chosen: list[int] = []  # in the order of choice
        self.empty = 0.0  # mean loss without any channel
        self.features = self._wanted(dense)

    def _wanted(self, dense: nn.Module) -> list[Tensor]:
        features = []
        with torch.no_grad(), output_of(end_of(dense, self.unit.consumer)) as seen:
            for batch in self.batches:
                self.loss(dense, batch)
                features.append(seen[0].float() if seen[0].dtype == torch.bfloat16 else seen[0])
        return features

    def fill(
        self, width: int, *, per_round: int, rate: float, note: Callable[[Tensor], None] | None = None
    ) -> tuple[list[int], float]:
        """Choose channels up to `width`.

        Args:
            per_round: channels added between two tuning passes.
            rate: of SGD with Nesterov momentum 0.9, one step a batch, fresh every round.
            note: called with the scores of every round.

        Returns:
            The channels in the order they were chosen, and the mean loss of the last pass.

        Raises:
            Diverged: scores are not finite, or the loss is no longer near what it was with no channels; the consumer
                is whole again.
        """
        last = 0.0
        with torch.no_grad():
            self.consumer.weight.zero_()
        gates = masked(self.net, [self.unit], [lambda: self.flags], gates_only=True)
        with only_trained(self.net, self.trained), output_of(self.consumer) as seen, gates:
            while len(self.chosen) < width:
                scores = self._scores(seen)
                if note is not None:
                    note(scores)
                scores[self.chosen] = -torch.inf
                self._add(scores.topk(min(per_round, width - len(self.chosen))).indices)
                last = self._tune(rate, seen)
        return self.chosen, last

    def _objective(self, index: int, seen: list[Tensor]) -> Tensor:
        total, wanted = self.loss(self.net, self.batches[index])["total"], self.features[index]
        return total + self.feature_weight * (seen[0].to(wanted.dtype) - wanted).square().mean()

    def _scores(self, seen: list[Tensor]) -> Tensor:
        """How much each channel is missed by the objective over all batches."""
        gradient, values = torch.zeros_like(self.consumer.weight), list[Tensor]()
        for index in range(len(self.batches)):
            value = self._objective(index, seen)
            gradient += torch.autograd.grad(value, self.consumer.weight)[0]
            values.append(value.detach())
        if not self.chosen:
            self.empty = _mean(values, self.empty)
        scores = missed(gradient, self.unit.spans)
        if not bool(torch.isfinite(scores).all()):
            raise self._diverged(f"scores of {self.unit.name} are not finite after {len(self.chosen)} channels")
        return scores

    def _add(self, fresh: Tensor) -> None:
        """Choose these channels too; they take back the weights that they had."""
        self.chosen += fresh.tolist()
        self.flags[fresh] = 1
        columns = consumer_columns(fresh, self.unit, self.full)
        with torch.no_grad():
            self.consumer.weight[:, columns] = self.first[0][:, columns]

    def _tune(self, rate: float, seen: list[Tensor]) -> float:
        """One pass over the batches on the chosen channels' weights and the bias; the mean loss."""
        weight = self.consumer.weight
        tuned = self.flags.repeat(self.unit.spans).reshape(-1, *[1] * (weight.ndim - 2))
        optimiser = torch.optim.SGD(self.trained, lr=rate, momentum=0.9, nesterov=True)
        values: list[Tensor] = []
        for index in range(len(self.batches)):
            value = self._objective(index, seen)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            assert weight.grad is not None
            weight.grad.mul_(tuned)
            optimiser.step()
            values.append(value.detach())
        last = _mean(values)
        if not last <= EXPLODED * self.empty:  # the comparison is written so that NaN fails too
            raise self._diverged(
                f"the loss of {self.unit.name} is {last:g} with {len(self.chosen)} channels, {self.empty:g} with none"
            )
        return last

    def _diverged(self, what: str) -> Diverged:
        with torch.no_grad():
            for value, before in zip(self.trained, self.first, strict=True):
                value.copy_(before)
        return Diverged(f"prune: {what}; lower prune.select_rate")


def _mean(values: Sequence[Tensor], first: float = 0.0) -> float:
    """The mean of some losses, added to `first`: they leave the device together, after the last of them."""
    return sum((value / len(values) for value in torch.stack(list(values)).tolist()), first)


def select(
    net: Any,
    dense: nn.Module,
    widths: Sequence[int],
    batches: Sequence[Batch],
    loss: Loss,
    how: GreedySelection,
    resumption: Resumption,
) -> tuple[list[Tensor], list[dict[str, float]]]:
    """Choose the channels of every unit in order; `net` ends sparse, ready for `thin` with the kept channels.

    A full width is left alone. A unit that diverges is begun again at a tenth of the rate, up to three times; resumable
    between units.

    Args:
        net: a copy of `dense`, or a net of the same shape whose weights are to be taken instead.
        dense: the net whose features are wanted.
        widths: how many channels of each unit stay.
        batches: what selection looks at, the same in every round.
        loss: of a net on a batch, `total`: L_P + weight * L_D.
        how: channels a round, the rate, and the weight of the feature error.
        resumption: where a killed selection goes on from, and who watches it.

    Returns:
        The kept channels of each unit, ascending, and one row a unit (kept, loss after it, rate used).
    """
    units = net.units()
    kept = KeptChannels(net, units)

    def fill(unit: Unit, width: int) -> tuple[list[int], float, float]:
        for attempt in range(RETRIES):
            rate = how.select_rate * 0.1**attempt
            try:
                filling = UnitSelection(net, dense, unit, batches, loss, how.feature_weight)
                return *filling.fill(width, per_round=how.per_round, rate=rate), rate
            except Diverged:
                if attempt + 1 == RETRIES:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    def step(index: int) -> dict[str, Tensor | float]:
        unit, width = units[index], widths[index]
        full = width_of(net, unit)
        if width == full:
            with torch.no_grad():
                return {"total": loss(net, batches[0])["total"], "kept": 1.0, "rate": 0.0}
        chosen, last, rate = fill(unit, width)
        kept.mark(index, chosen)
        return {"total": last, "kept": width / full, "rate": rate}

    # what a consumer's zeros cannot say: the queries of an attention have lost the channels of earlier units too
    with masked(net, units, kept.factors(), gates_only=True):
        state = {"net": net, "selection": kept}
        history = fit(step, steps=len(units), state=state, resumption=resumption, title="prune: select")
    return kept.indices(), history

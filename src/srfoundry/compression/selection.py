"""Which channels stay: greedy selection by feature and dual-regression loss, one unit after another (DRC).

For the consumer layer of each unit, with earlier units already sparse, channels are added to an empty selection where
the gradient of the loss says that they are missed most, take back the weights that they had, and are tuned together
for one pass over a few batches. The paper adds one channel a round; several a round is the same method with coarser
steps. `networks.units.thin` then makes the smaller net.

The net that is made sparse need not be the dense one whose features are wanted: it may be the net that the search
trained, which has learned to live without the lesser channels.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from srfoundry.core.errors import Diverged
from srfoundry.core.state import Log, Resumption
from srfoundry.networks.sr.prunable import Unit, consumer_columns, end_of, masked, width_of
from srfoundry.training.loop import fit

Batch = Mapping[int, Tensor]
Loss = Callable[[nn.Module, Batch], dict[str, Tensor]]
RETRIES = 4
EXPLODED = 2.0  # a selection whose loss is this many times that of no channels at all has diverged


class Selection(nn.Module):
    """One flag a channel for every unit; all set at the start. A module only so that checkpoints know it."""

    def __init__(self, net: nn.Module, units: Sequence[Unit]) -> None:
        super().__init__()
        self.names = [f"unit{index}" for index in range(len(units))]
        for name, unit in zip(self.names, units, strict=True):
            device = end_of(net, unit.consumer).weight.device
            self.register_buffer(name, torch.ones(width_of(net, unit), dtype=torch.bool, device=device))

    def mark(self, index: int, chosen: Sequence[int]) -> None:
        """Keep these channels of a unit only."""
        flags = self.get_buffer(self.names[index])
        flags.zero_()
        flags[list(chosen)] = True

    def flags(self, index: int) -> Callable[[], Tensor]:
        """The flags of a unit as `masked` asks for them."""
        return lambda: self.get_buffer(self.names[index])

    def kept(self) -> list[Tensor]:
        """Indices of the channels that stay, ascending, for each unit."""
        return [self.get_buffer(name).nonzero()[:, 0].cpu() for name in self.names]


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


def scores(weight_gradient: Tensor, spans: int) -> Tensor:
    """How much each channel is missed: the Frobenius norms of its kernels' gradients, summed over outputs and spans."""
    kernels = weight_gradient.reshape(*weight_gradient.shape[:2], -1).norm(dim=2)
    return kernels.sum(dim=0).reshape(spans, -1).sum(dim=0)


def select_unit(
    net: nn.Module,
    dense: nn.Module,
    unit: Unit,
    width: int,
    batches: Sequence[Batch],
    loss: Loss,
    *,
    per_round: int,
    rate: float,
    feature_weight: float,
    note: Callable[[Tensor], None] | None = None,
) -> tuple[list[int], float]:
    """Fill the unit's channels from empty up to `width`, in place (DRC's greedy selection).

    The objective is L_M + L_P + weight * L_D.

    Args:
        net: the net so far, earlier units sparse, this one whole; it ends with weights on the chosen channels only.
        dense: the untouched net, for the wanted features (its clean path).
        per_round: channels added between two tuning passes; 1 is the paper's form.
        rate: of SGD with Nesterov momentum 0.9, one step a batch, fresh every round.
        feature_weight: of L_M, the mean squared error of the consumer's output; at [0, 1], 255 is the paper's balance.
        note: called with the scores of every round.

    Returns:
        the channels in the order they were chosen, and the mean loss of the last pass.

    Raises:
        Diverged: scores are not finite, or the loss is no longer near what it was with no channels; the consumer is
            whole again.
    """
    consumer, full = end_of(net, unit.consumer), width_of(net, unit)
    trained = [consumer.weight] + ([] if consumer.bias is None else [consumer.bias])
    first = [value.detach().clone() for value in trained]
    flags = torch.zeros(full, device=consumer.weight.device)
    with torch.no_grad(), output_of(end_of(dense, unit.consumer)) as seen:
        features = []
        for batch in batches:
            loss(dense, batch)
            features.append(seen[0].float() if seen[0].dtype == torch.bfloat16 else seen[0])
        consumer.weight.zero_()
    chosen: list[int] = []
    empty = last = 0.0

    def objective(index: int, seen: list[Tensor]) -> Tensor:
        total = loss(net, batches[index])["total"]
        return total + feature_weight * (seen[0].to(features[index].dtype) - features[index]).square().mean()

    def diverged(what: str) -> Diverged:
        with torch.no_grad():
            for value, before in zip(trained, first, strict=True):
                value.copy_(before)
        return Diverged(f"prune: {what}; lower prune.select_rate")

    gates = masked(net, [unit], [lambda: flags], gates_only=True)
    with only_trained(net, trained), output_of(consumer) as seen, gates:
        while len(chosen) < width:
            gradient = torch.zeros_like(consumer.weight)
            for index in range(len(batches)):
                value = objective(index, seen)
                gradient += torch.autograd.grad(value, consumer.weight)[0]
                empty += 0.0 if chosen else float(value.detach()) / len(batches)
            missed = scores(gradient, unit.spans)
            if not bool(torch.isfinite(missed).all()):
                raise diverged(f"scores of {unit.name} are not finite after {len(chosen)} channels")
            if note is not None:
                note(missed)
            missed[chosen] = -torch.inf
            fresh = missed.topk(min(per_round, width - len(chosen))).indices
            chosen += fresh.tolist()
            flags[fresh] = 1
            columns = consumer_columns(fresh, unit, full)
            with torch.no_grad():
                consumer.weight[:, columns] = first[0][:, columns]
            tuned = flags.repeat(unit.spans).reshape(-1, *[1] * (consumer.weight.ndim - 2))
            optimiser = torch.optim.SGD(trained, lr=rate, momentum=0.9, nesterov=True)
            last = 0.0
            for index in range(len(batches)):
                value = objective(index, seen)
                optimiser.zero_grad(set_to_none=True)
                value.backward()
                assert consumer.weight.grad is not None
                consumer.weight.grad.mul_(tuned)
                optimiser.step()
                last += float(value.detach()) / len(batches)
            if not last <= EXPLODED * empty:  # the comparison is written so that NaN fails too
                raise diverged(
                    f"the loss of {unit.name} is {last:g} with {len(chosen)} channels and {empty:g} with none"
                )
    return chosen, last


def select(
    net: nn.Module,
    dense: nn.Module,
    units: Sequence[Unit],
    widths: Sequence[int],
    batches: Sequence[Batch],
    loss: Loss,
    *,
    per_round: int,
    rate: float,
    feature_weight: float,
    checkpoint: Path,
    key: str,
    log: Log,
) -> tuple[list[Tensor], list[dict[str, float]]]:
    """Choose the channels of every unit in order; `net` ends sparse, ready for `thin` with the kept channels.

    `net` is a copy of `dense`, or a net of the same shape whose weights are to be taken instead. A full width is left
    alone. A unit that diverges is begun again at a tenth of the rate, up to three times; resumable between units.

    Returns:
        the kept channels of each unit, ascending, and one row a unit (kept, loss after it, rate used).
    """
    selection = Selection(net, units)

    def step(index: int) -> dict[str, Tensor | float]:
        unit, width = units[index], widths[index]
        full = width_of(net, unit)
        if width == full:
            with torch.no_grad():
                return {"total": loss(net, batches[0])["total"], "kept": 1.0, "rate": 0.0}
        for attempt in range(RETRIES):
            used = rate * 0.1**attempt
            try:
                chosen, last = select_unit(
                    net, dense, unit, width, batches, loss,
                    per_round=per_round, rate=used, feature_weight=feature_weight,
                )  # fmt: skip
            except Diverged:
                if attempt + 1 == RETRIES:
                    raise
                continue
            selection.mark(index, chosen)
            return {"total": last, "kept": width / full, "rate": used}
        raise AssertionError("unreachable: the last attempt returns or raises")

    # what a consumer's zeros cannot say: the queries of an attention have lost the channels of earlier units too
    gates = masked(net, units, [selection.flags(index) for index in range(len(units))], gates_only=True)
    with gates:
        history = fit(
            step,
            steps=len(units),
            state={"net": net, "selection": selection},
            resumption=Resumption(checkpoint, key, log),
            title="prune: select",
        )
    return selection.kept(), history

"""Which channels stay: greedy selection by feature and dual-regression loss, one unit after another (DRC).

For the consumer convolution of each unit, with earlier units already sparse, channels are added to an empty selection
where the gradient of the loss says that they are missed most, take their weights from the dense net, and are tuned
together for one pass over a few batches. The paper adds one channel a round; several a round is the same method with
coarser steps. `networks.units.thin` then makes the smaller net.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from srfoundry.errors import Diverged
from srfoundry.fit import Log, fit
from srfoundry.networks.units import Unit, convolution

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
            self.register_buffer(name, torch.ones(convolution(net, unit.consumer).in_channels, dtype=torch.bool))

    def mark(self, index: int, chosen: Sequence[int]) -> None:
        """Keep these channels of a unit only."""
        flags = self.get_buffer(self.names[index])
        flags.zero_()
        flags[list(chosen)] = True

    def kept(self) -> list[Tensor]:
        """Indices of the channels that stay, ascending, for each unit."""
        return [self.get_buffer(name).nonzero()[:, 0].cpu() for name in self.names]


@contextmanager
def output_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """Within, the list holds the module's latest output."""
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


def scores(weight_gradient: Tensor) -> Tensor:
    """How much each input channel is missed: sum over outputs of the Frobenius norms of its kernels' gradients."""
    return weight_gradient.flatten(2).norm(dim=2).sum(dim=0)


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
    """Fill the consumer's input channels from empty up to `width`, in place (DRC's greedy selection).

    The objective is L_M + L_P + weight * L_D.

    Args:
        net: the net so far, earlier units sparse; the consumer ends with weights on the chosen channels only.
        dense: the untouched net, for the wanted features (its clean path) and the channels' first weights.
        per_round: channels added between two tuning passes; 1 is the paper's form.
        rate: of SGD with Nesterov momentum 0.9, one step a batch, fresh every round.
        feature_weight: of L_M, the mean squared error of the consumer's output; at [0, 1], 255 is the paper's balance.
        note: called with the scores of every round.

    Returns:
        the channels in the order they were chosen, and the mean loss of the last pass.

    Raises:
        Diverged: scores are not finite, or the loss is no longer near what it was with no channels.
    """
    consumer, reference = convolution(net, unit.consumer), convolution(dense, unit.consumer)
    trained = [consumer.weight] + ([] if consumer.bias is None else [consumer.bias])
    with torch.no_grad(), output_of(reference) as seen:
        features = []
        for batch in batches:
            loss(dense, batch)
            features.append(seen[0].float() if seen[0].dtype == torch.bfloat16 else seen[0])
        consumer.weight.zero_()
        if consumer.bias is not None and reference.bias is not None:
            consumer.bias.copy_(reference.bias)
    chosen: list[int] = []
    empty = last = 0.0

    def objective(index: int, seen: list[Tensor]) -> Tensor:
        total = loss(net, batches[index])["total"]
        return total + feature_weight * (seen[0].to(features[index].dtype) - features[index]).square().mean()

    with only_trained(net, trained), output_of(consumer) as seen:
        while len(chosen) < width:
            gradient = torch.zeros_like(consumer.weight)
            for index in range(len(batches)):
                value = objective(index, seen)
                gradient += torch.autograd.grad(value, consumer.weight)[0]
                empty += 0.0 if chosen else float(value.detach()) / len(batches)
            missed = scores(gradient)
            if not bool(torch.isfinite(missed).all()):
                raise Diverged(f"prune: scores of {unit.name} are not finite after {len(chosen)} channels")
            if note is not None:
                note(missed)
            missed[chosen] = -torch.inf
            fresh = missed.topk(min(per_round, width - len(chosen))).indices.tolist()
            chosen += fresh
            with torch.no_grad():
                consumer.weight[:, fresh] = reference.weight[:, fresh]
            flags = torch.zeros_like(missed)
            flags[chosen] = 1
            optimiser = torch.optim.SGD(trained, lr=rate, momentum=0.9, nesterov=True)
            last = 0.0
            for index in range(len(batches)):
                value = objective(index, seen)
                optimiser.zero_grad(set_to_none=True)
                value.backward()
                assert consumer.weight.grad is not None
                consumer.weight.grad.mul_(flags[:, None, None])
                optimiser.step()
                last += float(value.detach()) / len(batches)
            if not last <= EXPLODED * empty:  # the comparison is written so that NaN fails too
                raise Diverged(
                    f"prune: the loss of {unit.name} is {last:g} with {len(chosen)} channels and {empty:g} with none; "
                    "lower prune.select_rate"
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
    """Choose the channels of every unit in order; `net` (a copy of `dense`) ends sparse, ready for `thin`.

    A full width is left alone. A unit that diverges is begun again at a tenth of the rate, up to three times;
    resumable between units.

    Returns:
        the kept channels of each unit, ascending, and one row a unit (kept, loss after it, rate used).
    """
    selection = Selection(net, units)

    def step(index: int) -> dict[str, Tensor | float]:
        unit, width = units[index], widths[index]
        if width == convolution(net, unit.consumer).in_channels:
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
            return {"total": last, "kept": width / convolution(net, unit.consumer).in_channels, "rate": used}
        raise AssertionError("unreachable: the last attempt returns or raises")

    history = fit(
        step,
        steps=len(units),
        state={"net": net, "selection": selection},
        checkpoint=checkpoint,
        key=key,
        log=log,
        title="prune: select",
    )
    return selection.kept(), history

"""Other ways to choose channels, behind one interface, so that a comparison differs in the choice and nothing else.

Whatever the method, `thin` makes the smaller net from the kept channels, the budget is the same table, and the
fine-tuning that follows is the same.
"""

import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Literal

import torch
from torch import Tensor, nn

from srfoundry.compression.budget import Budget
from srfoundry.compression.recipe import Conditions, Smaller, budget_of, cut_to
from srfoundry.compression.settings import BudgetTarget, Compression
from srfoundry.compression.width_choice import nearest, uniform_widths
from srfoundry.core.errors import FoundryError
from srfoundry.networks.sr.prunable import Unit, consumer_columns, end_of, largest, producer_rows, width_of

Baseline = Literal["uniform", "random", "torch_pruning"]


def choose_channels(
    baseline: Baseline, net: Any, budget: Budget, target: BudgetTarget, *, rng: torch.Generator
) -> list[Tensor]:
    """Indices of the channels that stay, ascending, for each unit; the budget is met as by the search.

    Args:
        baseline: uniform is one keep ratio, and the channels with the largest L1 norms; random the same widths, any
            channels; torch_pruning the widths and channels of that library's global ranking by group magnitude.
        rng: of the random channels.

    Raises:
        FoundryError: the ladders cannot remove so much, or torch-pruning is not installed.
    """
    if baseline == "torch_pruning":
        return _by_library(net, net.units(), budget, target)
    widths = uniform_widths(budget, target)
    if baseline == "uniform":
        return largest(net, net.units(), widths)
    return [
        torch.randperm(full, generator=rng)[:width].sort().values
        for full, width in zip(budget.dense, widths, strict=True)
    ]


def uniform(net: Any, duals: nn.Module, how: Compression, on: Conditions) -> Smaller:
    """One keep ratio, the channels with the largest L1 norms: a compressor, as in `compressors`."""
    return _cut("uniform", net, duals, how.target, on)


def random(net: Any, duals: nn.Module, how: Compression, on: Conditions) -> Smaller:
    """One keep ratio, any channels: a compressor, as in `compressors`."""
    return _cut("random", net, duals, how.target, on)


def _cut(baseline: Baseline, net: Any, duals: nn.Module, target: BudgetTarget, on: Conditions) -> Smaller:
    budget = budget_of(net, target, on)
    kept = choose_channels(baseline, net, budget, target, rng=on.stream.rng(baseline))
    return cut_to(kept, net, duals, budget, target, on)


class StandIn(nn.Module):
    """What torch-pruning is shown: each unit as two linear layers that hold the weights of the real ones.

    The library cannot follow a pixel shuffle or an attention's split into heads, where one channel is several outputs
    of the producer. Here those outputs are one row: its magnitudes and its ranking are what they would be.
    """

    def __init__(self, net: nn.Module, units: Sequence[Unit]) -> None:
        super().__init__()
        self.producers, self.consumers = nn.ModuleList(), nn.ModuleList()
        for unit in units:
            width = width_of(net, unit)
            made, read = end_of(net, unit.producer).weight.detach(), end_of(net, unit.consumer).weight.detach()
            each = [torch.tensor([channel]) for channel in range(width)]
            rows = torch.stack([made[producer_rows(channel, unit, width)].flatten() for channel in each])
            columns = torch.stack([read[:, consumer_columns(channel, unit, width)].flatten() for channel in each])
            for layers, weight in ((self.producers, rows), (self.consumers, columns.T)):
                layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
                layer.weight = nn.Parameter(weight.clone())
                layers.append(layer)

    def forward(self, inputs: list[Tensor]) -> list[Tensor]:
        """Each unit by itself."""
        return [
            consumer(producer(image))
            for image, producer, consumer in zip(inputs, self.producers, self.consumers, strict=True)
        ]


def _by_library(net: nn.Module, units: Sequence[Unit], budget: Budget, target: BudgetTarget) -> list[Tensor]:
    """The library's pruning ratio is of channels: it is bisected until its widths meet the budget, then rounded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            library: Any = import_module("torch_pruning")
    except ImportError:
        raise FoundryError(
            "the baseline torch_pruning needs the library, got none; run: pip install --no-deps torch-pruning==1.6.1"
        ) from None
    stand = StandIn(net, units).cpu()
    inputs = [torch.zeros(1, stand.get_parameter(f"producers.{at}.weight").shape[1]) for at in range(len(units))]
    importance = library.importance.GroupMagnitudeImportance(p=2)

    def lost(ratio: float) -> list[set[int]]:
        """Channels that the library would remove, by unit."""
        pruner = library.pruner.BasePruner(
            stand, [inputs], importance, global_pruning=True, pruning_ratio=ratio, ignored_layers=list(stand.consumers)
        )
        found: list[set[int]] = [set() for _ in units]
        places = {layer: place for place, layer in enumerate(stand.producers)}
        for group in pruner.step(interactive=True):
            found[places[group[0].dep.layer]] |= set(group[0].idxs)
        return found

    def widths(ratio: float) -> list[int]:
        return [max(steps[0], steps[-1] - len(gone)) for steps, gone in zip(budget.ladders, lost(ratio), strict=True)]

    low, high = 0.0, 1.0
    for _ in range(12):
        ratio = (low + high) / 2
        enough = budget.removed(widths(ratio)) >= target.middle
        low, high = (low, ratio) if enough else (ratio, high)
    wanted = nearest(budget, widths(high), target)
    graph = library.DependencyGraph().build_dependency(stand, [inputs])
    kept: list[Tensor] = []
    for layer, full, width in zip(stand.producers, budget.dense, wanted, strict=True):
        every = list(range(full))
        scores = importance(graph.get_pruning_group(layer, library.prune_linear_out_channels, every))
        kept.append(torch.argsort(scores, descending=True, stable=True)[:width].sort().values)
    return kept

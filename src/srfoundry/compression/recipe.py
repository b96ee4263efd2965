"""The recipe of compression: a dense net becomes a smaller one under a budget, distilled from the dense one.

A compressor (compression.compressors) finds the smaller net; what follows is the same for all of them: channels are
selected where that was left open, the net is cut, tuned and scored. Stages and benchmarks run these same steps.
"""

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from srfoundry.compression.budget import Budget, ladders_of
from srfoundry.compression.latency import onnx_runner, proved
from srfoundry.compression.selection import select
from srfoundry.compression.settings import BudgetTarget, Compression, Fitting, Searching, Tuning
from srfoundry.core.atomic import write_bytes
from srfoundry.core.compute import Compute
from srfoundry.core.process_group import ALONE
from srfoundry.core.seeds import Stream
from srfoundry.core.state import Resumption
from srfoundry.dual_regression.batch import Batch
from srfoundry.dual_regression.batches import Batches, pairs
from srfoundry.dual_regression.loss import loss_of
from srfoundry.dual_regression.recipe import trained_for
from srfoundry.dual_regression.training import train, validate
from srfoundry.imaging.patches import Patches
from srfoundry.networks.sr.multiplications import multiplications
from srfoundry.networks.sr.prunable import thin

SIDE = 96  # low-resolution pixels a side at which the papers count multiply-adds


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a compression works on, and where.

    Args:
        patches: the training photographs.
        compute: where the nets run.
        stream: of the random draws.
        resumption: where a killed run goes on from, and who watches it.
        threads: of the CPU, where the budget is of latency.
    """

    patches: Patches
    compute: Compute
    stream: Stream
    resumption: Resumption
    threads: int = 1

    def beside(self, suffix: str) -> "Conditions":
        """The same for a further part of the work."""
        return replace(self, resumption=self.resumption.beside(suffix))

    def parts(self, how: Searching | Tuning, scale: int, *names: str | int) -> list[tuple[Batch, float]]:
        """The batch of this name, its patches and their degradation as `how` says: this process's rows of it.

        In the parts that they are computed in, each with its share of the batch's rows.
        """
        count = how.draws.batch
        return [
            (
                pairs(
                    self.patches,
                    how.draws,
                    how.degradation,
                    scale=scale,
                    rng=self.stream.rng(*names),
                    device=self.compute.device,
                    processes=part,
                ),
                part.share(count),
            )
            for part in self.compute.parts(count)
        ]

    def after(self, steps: int) -> "Conditions":
        """The same for work whose live curve goes on behind `steps` points of an earlier part."""
        log = self.resumption.log
        later = replace(self.resumption, log=lambda step, values: log(steps + step, values))
        return replace(self, resumption=later)


@dataclass(frozen=True)
class Smaller:
    """What a compressor came to, before selection and fine-tuning.

    Args:
        net: the smaller net.
        duals: the dual nets that go with its weights.
        dense: the dense net's widths.
        widths: the channels that stay of each unit.
        arch: what the card's architecture gains.
        scores: for metrics.json.
        history: the curve of a search; empty if there was none.
        selectable: whether only the widths count, where channels are to be selected in the dense net instead (DRC).
    """

    net: Any
    duals: nn.Module
    dense: list[int]
    widths: list[int]
    arch: dict[str, Any]
    scores: dict[str, Any]
    history: list[dict[str, float]] = field(default_factory=list)
    selectable: bool = False


Compress = Callable[[Any, nn.Module, Compression, Conditions], Smaller]  # net and duals may be trained meanwhile


def budget_of(net: Any, target: BudgetTarget, on: Conditions) -> Budget:
    """The cost of the net at other widths, as `target.measure` says; a measured one is kept beside the state.

    Args:
        target: its `multiple` makes the ladders of widths.
        on: where a measured budget is kept for a search that resumes.

    Raises:
        FoundryError: a measured latency does not fall with the widths.
    """
    units = net.units()
    ladders, low = ladders_of(net, units, target.multiple), torch.zeros(1, 3, SIDE, SIDE)
    if target.measure == "parameters":
        return Budget.parameters(net, units, ladders)
    if target.measure == "macs":
        return Budget.multiplications(net, units, ladders, low)
    # measured once: a search that resumes must go on with its budget
    kept, key, processes = on.resumption.beside("latency").path, on.resumption.key, on.compute.processes
    if processes.first:
        if not (kept.exists() and json.loads(kept.read_text())["key"] == key):
            runner = partial(onnx_runner, threads=on.threads)
            budget = Budget.latency(copy.deepcopy(net).cpu(), units, ladders, low, runner=runner)
            write_bytes(kept, json.dumps({"key": key, **asdict(budget)}).encode())
    read = json.loads(processes.agreed(kept.read_text() if processes.first else ""))
    return Budget(read["total"], tuple(map(tuple, read["ladders"])), tuple(map(tuple, read["tables"])))


def cut_to(
    kept: Sequence[Tensor], net: Any, duals: nn.Module, budget: Budget, target: BudgetTarget, on: Conditions
) -> Smaller:
    """The net with these channels of each unit alone, and what is said of it: the end of every channel compressor.

    A latency is looked at with the clock when all is decided, and no card holds it: a model's bytes do not depend on
    the clock's last word.
    """
    units, widths = net.units(), [len(channels) for channels in kept]
    cut, removed = thin(net, units, kept), budget.removed(widths)
    scores = {**said_of(net, widths, target), "removed_fraction": removed}
    if target.measure == "latency":
        low, runner = torch.zeros(1, 3, SIDE, SIDE), partial(onnx_runner, threads=on.threads)
        scores |= proved(net, cut, low, predicted=removed, remove=target.remove, runner=runner)
    return Smaller(cut, duals, budget.dense, widths, {"inner": widths}, scores)


def said_of(net: Any, widths: Sequence[int], target: BudgetTarget) -> dict[str, Any]:
    """What metrics.json says of every smaller net: its widths by unit, and the budget that they are for."""
    names = [unit.name for unit in net.units()]
    budget = {"measure": target.measure, "remove": target.remove, "tolerance": target.tolerance}
    return {"widths": dict(zip(names, widths, strict=True)), "budget": budget}


@dataclass(frozen=True)
class Member:
    """A tuned smaller net, what is said of it, and the curves of its selection (a row a unit) and its tuning.

    `trained_for` is what its card says of the pairs that it was tuned on.
    """

    net: Any
    scores: dict[str, Any]
    selection: list[dict[str, float]]
    history: list[dict[str, float]]
    trained_for: dict[str, Any]


def finish(
    dense: Any,
    duals: nn.Module,
    widths: Sequence[int],
    how: Tuning,
    on: Conditions,
    *,
    searched: Any | None,
    validation: Patches,
) -> Member:
    """Make the member of these widths: choose channels, cut, tune with the dense net as teacher, and score.

    Args:
        duals: the dual nets that go with the weights that are tuned; trained in place.
        searched: the smaller net that there is already, to go on from; None selects channels of the dense net by
            feature and dual-regression loss (DRC).
        on: its state is the selection's; tuning's is beside it.
        validation: the photographs for the scores.
    """
    net, rows = searched, []
    if net is None:
        net, rows = select_and_cut(dense, duals, widths, how, on)
    score = partial(validate, scale=dense.scale, device=on.compute.device)
    untuned = score(net, validation)
    tuning = on.after(len(dense.units())).beside("tuning")
    history = tune(net, duals, how, tuning, teacher=dense)
    scores = {
        **sizes(dense, net),
        "validation": score(net, validation),
        "validation_untuned": untuned,
        "validation_dense": score(dense, validation),
        "kept": {unit.name: width for unit, width in zip(dense.units(), widths, strict=True)},
    }
    if how.degradation is not None and how.degradation.degradation != "bicubic":
        for name, each in (("validation_degraded", net), ("validation_degraded_dense", dense)):
            scores[name] = score(each, validation, degradation=how.degradation)
    return Member(net, scores, rows, history, trained_for(how.degradation, duals))


def select_and_cut(
    dense: Any, duals: nn.Module, widths: Sequence[int], how: Tuning, on: Conditions
) -> tuple[Any, list[dict[str, float]]]:
    """The dense net with the channels that greedy selection keeps at these widths, and a row a unit (DRC).

    Args:
        duals: of the loss; they are not trained.
        widths: how many channels of each unit stay.
        on: its state is the selection's.
    """
    selecting = replace(how, draws=replace(how.draws, batch=how.selection.select_batch))
    # no training: every process does all of it, at once
    each = replace(on, compute=replace(on.compute, processes=ALONE, accumulate=1))
    indices = range(how.selection.select_batches)
    batches = [batch for index in indices for batch, _ in each.parts(selecting, dense.scale, "select", index)]
    loss = loss_of(duals, scale=dense.scale, weights=how.weights, compute=on.compute)
    sparse = thin(dense, [], [])
    kept, rows = select(sparse, dense, widths, batches, loss, how.selection, on.resumption)
    kept = on.compute.processes.agreed(kept)  # hosts may round differently
    on.compute.processes.same_weights(sparse)
    return thin(sparse, dense.units(), kept), rows


def tune(
    net: Any, duals: nn.Module, how: Fitting, on: Conditions, *, teacher: nn.Module | None
) -> list[dict[str, float]]:
    """Train a net and its dual nets in place, by the closed loop and the teacher's features (DRC); the curve.

    Args:
        how: the steps and rates, the batch of a step, and the weights of the dual term and of the distillation.
        teacher: the dense net; None leaves the distillation out.
    """
    loss = loss_of(
        duals,
        scale=net.scale,
        weights=how.weights,
        compute=on.compute,
        teacher=teacher,
        teacher_weight=how.weights.teacher_weight,
    )
    batches = Batches(
        patches=on.patches,
        draws=how.draws,
        scale=net.scale,
        stream=on.stream,
        degradation=how.degradation,
        device=on.compute.device,
        processes=on.compute.processes,
        accumulate=on.compute.accumulate,
    )
    return train(net, duals, loss, batches, how.descent, resumption=on.resumption)


def sizes(dense: nn.Module, net: nn.Module) -> dict[str, int | float]:
    """Parameters and multiply-adds before and after, for metrics.json."""
    low = torch.zeros(1, 3, SIDE, SIDE, device="meta")
    full, left = (sum(weight.numel() for weight in each.parameters()) for each in (dense, net))
    macs_before, macs = (multiplications(copy.deepcopy(each).to("meta"), low) for each in (dense, net))
    return {
        "parameters_before": full,
        "parameters": left,
        "removed_fraction": 1 - left / full,
        "macs_before_96x96": macs_before,
        "macs_96x96": macs,
        "removed_macs_fraction": 1 - macs / macs_before,
    }

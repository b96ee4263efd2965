"""What `search`, `prune` and `compress` share: find widths under a budget, choose channels, cut, tune."""

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.support.stage import Stage
from srfoundry.compression.budget import Budget, ladders_of
from srfoundry.compression.latency import Runner, onnx_runner, proved
from srfoundry.compression.search import search
from srfoundry.compression.selection import select
from srfoundry.config.sections import Prune, Search
from srfoundry.core.atomic import write_bytes
from srfoundry.core.seeds import generator
from srfoundry.core.state import Resumption
from srfoundry.dual_regression.batches import Batches, draw
from srfoundry.dual_regression.loss import loss_of
from srfoundry.dual_regression.training import train, validate
from srfoundry.imaging.patches import Patches
from srfoundry.networks.sr.multiplications import multiplications
from srfoundry.networks.sr.prunable import Unit, thin
from srfoundry.networks.zoo import cards
from srfoundry.reporting.compression import widths_picture

SIDE = 96  # low-resolution pixels a side at which the papers count multiply-adds


@dataclass(frozen=True)
class Found:
    """What a search came to: the channels that stay, ascending; `times` as `times_of` has them."""

    kept: list[Tensor]
    budget: Budget
    history: list[dict[str, float]]
    times: dict[str, float] = field(default_factory=dict)

    @property
    def widths(self) -> list[int]:
        """How many they are."""
        return [len(channels) for channels in self.kept]

    def cut(self, net: Any) -> Any:
        """The searched net with these channels alone."""
        return thin(net, _units(net), self.kept)

    def scores(self, names: Sequence[str], chosen: Search, remove: float) -> dict[str, Any]:
        """For metrics.json."""
        return {
            "widths": dict(zip(names, self.widths, strict=True)),
            "dense_widths": dict(zip(names, self.budget.dense, strict=True)),
            "removed_fraction": self.budget.removed(self.widths),
            "budget": {"measure": chosen.measure, "remove": remove, "tolerance": chosen.tolerance},
            **self.times,
        }


def find_widths(
    stage: Stage,
    chosen: Search,
    net: nn.Module,
    duals: nn.Module,
    *,
    remove: float,
    multiple: int,
    steps: int,
    state: Path,
) -> Found:
    """Search the net's widths on two halves of the training photographs; net and duals are trained meanwhile."""
    patches = Patches.open(stage.input("data/synthesize/train"))
    names = patches.photographs()
    units = _units(net)
    budget = budget_of(stage, chosen.measure, net, units, ladders_of(net, units, multiple), state)

    def one(half: Patches, part: str, index: int) -> dict[int, Tensor]:
        rng = generator(stage.seed, stage.name, part, index)
        return draw(half, chosen.draw, scale=stage.scale, rng=rng)

    kept, history = search(
        net,
        units,
        loss_of(duals, scale=stage.scale, weight=chosen.dual_weight, compute=stage.compute),
        (partial(one, patches.only(names[0::2]), "train"), partial(one, patches.only(names[1::2] or names), "alpha")),
        budget=budget,
        remove=remove,
        tolerance=chosen.tolerance,
        order=chosen.order,
        relaxation=chosen.relaxation,
        importance=chosen.importance,
        steps=steps,
        learning_rate=chosen.learning_rate,
        width_rate=chosen.width_rate,
        temperature=chosen.temperature,
        clip=chosen.clip,
        rng=generator(stage.seed, stage.name, "logits"),
        trained=[net, duals],
        checkpoint=state,
        key=stage.key,
        log=stage.log,
    )
    found = Found(kept, budget, history)
    times = times_of(stage, chosen.measure, net, found.cut(net), predicted=budget.removed(found.widths), remove=remove)
    return replace(found, times=times)


def budget_of(
    stage: Stage, measure: str, net: nn.Module, units: Sequence[Unit], ladders: Sequence[Sequence[int]], state: Path
) -> Budget:
    """The cost of the net at other widths, as `search.measure` says; a measured one is kept beside `state`."""
    low = torch.zeros(1, 3, SIDE, SIDE)
    if measure == "parameters":
        return Budget.parameters(net, units, ladders)
    if measure == "macs":
        return Budget.multiplications(net, units, ladders, low)
    kept = state.with_name(f"{state.name}.latency")  # measured once: a search that resumes must go on with its budget
    if kept.exists() and (read := json.loads(kept.read_text()))["key"] == stage.key:
        return Budget(read["total"], tuple(map(tuple, read["ladders"])), tuple(map(tuple, read["tables"])))
    budget = Budget.latency(copy.deepcopy(net).cpu(), units, ladders, low, runner=_runner(stage))
    write_bytes(kept, json.dumps({"key": stage.key, **asdict(budget)}).encode())
    return budget


def times_of(
    stage: Stage, measure: str, net: nn.Module, cut: nn.Module, *, predicted: float, remove: float
) -> dict[str, float]:
    """For metrics.json, if `search.measure` is latency: how the cut net's measured time is, and was predicted.

    It is looked at when all is decided, and no card holds it: a model's bytes do not depend on the clock's last word.
    """
    if measure != "latency":
        return {}
    low = torch.zeros(1, 3, SIDE, SIDE)
    return proved(net, cut, low, predicted=predicted, remove=remove, runner=_runner(stage))


def _runner(stage: Stage) -> Runner:
    return partial(onnx_runner, threads=stage.params.shared.threads)


@dataclass(frozen=True)
class Member:
    """A pruned and tuned net, what is said of it, and the curves of its selection and its tuning."""

    net: nn.Module
    scores: dict[str, Any]
    chosen: list[dict[str, float]]
    history: list[dict[str, float]]


def cut_and_tune(
    stage: Stage,
    chosen: Prune,
    dense: nn.Module,
    duals: nn.Module,
    widths: Sequence[int],
    *,
    searched: nn.Module | None,
    steps: int,
    state: Path,
    before: int = 0,
) -> Member:
    """Make the net of these widths: choose channels, cut, and tune with the dense net as teacher.

    Args:
        duals: the dual nets that go with the weights that are tuned.
        searched: the smaller net that there is already, to go on from; None selects channels of the dense net by
            feature and dual-regression loss (DRC).
        state: where selection keeps its state; tuning's is beside it.
        before: points of the stage's live curve that are behind.
    """
    scale, device = stage.scale, stage.device
    units = _units(dense)
    patches = Patches.open(stage.input("data/synthesize/train"))
    validation = Patches.open(stage.input("data/synthesize/validation"))
    loss = partial(loss_of, duals, scale=scale, weight=chosen.dual_weight, compute=stage.compute)
    net, rows = searched, []
    if net is None:
        sparse = thin(dense, [], [])
        cut = partial(draw, patches, replace(chosen.draw, batch=chosen.select_batch), scale=scale)
        kept, rows = select(
            sparse,
            dense,
            units,
            widths,
            [cut(rng=generator(stage.seed, stage.name, "select", index)) for index in range(chosen.select_batches)],
            loss(),
            per_round=chosen.per_round,
            rate=chosen.select_rate,
            feature_weight=chosen.feature_weight,
            checkpoint=state,
            key=stage.key,
            log=lambda step, values: stage.log(before + step, values),
        )
        net = thin(sparse, units, kept)
    untuned = validate(net, validation, scale=scale, device=device)
    history = train(
        net,
        duals,
        loss(teacher=dense, teacher_weight=chosen.teacher_weight),
        Batches(patches=patches, draws=chosen.draw, scale=scale, stream=stage.stream),
        replace(chosen.descent, steps=steps),
        resumption=Resumption(
            state.with_name(f"{state.name}.tuning"),
            stage.key,
            lambda step, values: stage.log(before + len(units) + step, values),
        ),
    )
    low = torch.zeros(1, 3, SIDE, SIDE, device="meta")
    full, left = (sum(weight.numel() for weight in each.parameters()) for each in (dense, net))
    macs_before, macs = (multiplications(copy.deepcopy(each).to("meta"), low) for each in (dense, net))
    scores = {
        "parameters_before": full,
        "parameters": left,
        "removed_fraction": 1 - left / full,
        "macs_before_96x96": macs_before,
        "macs_96x96": macs,
        "removed_macs_fraction": 1 - macs / macs_before,
        "validation": validate(net, validation, scale=scale, device=device),
        "validation_untuned": untuned,
        "validation_dense": validate(dense, validation, scale=scale, device=device),
        "kept": {unit.name: width for unit, width in zip(units, widths, strict=True)},
    }
    return Member(net, scores, rows, history)


def save(stage: Stage, path: str, net: nn.Module, arch: dict[str, Any], scores: dict[str, Any]) -> None:
    """Write a net with its card, which leaves out what `times_of` measured."""
    cards.save(
        stage.output(path),
        net,
        arch=arch,
        scale=stage.scale,
        made_by=stage.name,
        params_hash=stage.params.section_hash(*stage.sections),
        metrics=_untimed(scores),
    )


def _untimed(scores: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in scores.items() if not name.startswith("latency_ratio")}
    return {name: _untimed(value) if isinstance(value, dict) else value for name, value in kept.items()}


def show(
    stage: Stage, net: nn.Module, dense: Sequence[int], widths: Sequence[int], rows: Sequence[Any], target: float | None
) -> None:
    """Write results/<stage>/widths.png."""
    picture = stage.results / "widths.png"
    widths_picture(picture, [unit.name for unit in _units(net)], dense, widths, rows, target)
    stage.picture("widths", picture)


def _units(net: nn.Module) -> list[Unit]:
    units: Any = net.units
    return units()

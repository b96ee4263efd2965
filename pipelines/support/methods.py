"""The ways in which `compress` makes a net smaller; budget, fine-tuning, card, export and pictures are common to all.

drc: searched widths. msgc: filter groups that choose what they read. uniform, random: one keep ratio, the heaviest
channels or any. The last two search nothing: their fine-tuning is longer by the steps of the others' search.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipelines.support.shrink import SIDE, budget_of, find_widths, times_of
from pipelines.support.stage import Stage
from srfoundry.compression.baselines import choose_channels
from srfoundry.compression.budget import Budget, ladders_of
from srfoundry.compression.msgc.layer_pairs import chains_of
from srfoundry.compression.msgc.conversion import convert
from srfoundry.compression.msgc.cost import Count, count_of
from srfoundry.compression.msgc.mask_search import search_masks
from srfoundry.compression.msgc.masked_conv import wrap
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.dual_regression.batches import draw
from srfoundry.dual_regression.loss import loss_of
from srfoundry.imaging.patches import Patches
from srfoundry.networks.sr.prunable import thin, widths_of
from srfoundry.networks.zoo.gather_conv import grouped_layers


@dataclass(frozen=True)
class Smaller:
    """What a method came to, before fine-tuning.

    net: None leaves the choice of channels at these widths to selection (drc from the dual net).
    duals: that go with the net; None are the dense one's.
    arch: what the card's architecture gains.
    more_steps: of fine-tuning, for a method without a search.
    """

    net: Any
    duals: nn.Module | None
    dense: list[int]
    widths: list[int]
    arch: dict[str, Any]
    scores: dict[str, Any]
    history: list[dict[str, float]] = field(default_factory=list)
    more_steps: int = 0


def smaller(stage: Stage, net: Any, duals: nn.Module, *, remove: float, state: Path) -> Smaller:
    """Make the dense net smaller by `compress.method`; net and duals may be trained meanwhile.

    Raises:
        FoundryError: the method cannot do it with this network or budget.
    """
    chosen = stage.params.compress
    if chosen.method == "msgc":
        return _msgc(stage, net, duals, remove, state)
    if chosen.method == "drc":
        found = find_widths(
            stage, stage.params.search, net, duals, remove=remove, multiple=chosen.multiple,
            steps=chosen.search_steps, state=state,
        )  # fmt: skip
        names = [unit.name for unit in net.units()]
        scores = found.scores(names, stage.params.search, remove)
        goes_on = stage.params.prune.start == "search"
        whole = (found.cut(net), duals) if goes_on else (None, None)
        return Smaller(*whole, found.budget.dense, found.widths, {"inner": found.widths}, scores, found.history)
    units = net.units()
    ladders = ladders_of(net, units, chosen.multiple)
    budget = budget_of(stage, stage.params.search.measure, net, units, ladders, state)
    rng = generator(stage.seed, stage.name, chosen.method)
    kept = choose_channels(
        chosen.method, net, units, budget=budget, remove=remove, tolerance=stage.params.search.tolerance, rng=rng
    )
    cut = thin(net, units, kept)
    widths = widths_of(cut, units)
    scores = _scores(stage, budget, widths, remove, units)
    scores |= times_of(stage, stage.params.search.measure, net, cut, predicted=budget.removed(widths), remove=remove)
    arch = {"inner": widths}
    return Smaller(cut, None, budget.dense, widths, arch, scores, more_steps=chosen.search_steps)


def _msgc(stage: Stage, net: Any, duals: nn.Module, remove: float, state: Path) -> Smaller:
    """Masks under the budget, trained with the net on all training photographs, and what they convert to."""
    chosen, how = stage.params.compress, stage.params.search
    if how.measure == "latency":
        raise FoundryError("compress.method msgc needs search.measure parameters or macs, got latency; choose one")
    units = net.units()
    chains = chains_of(units)
    low = torch.zeros(1, 3, SIDE, SIDE) if how.measure == "macs" else None
    count = count_of(net, chains, groups=chosen.groups, low=low)
    patches = Patches.open(stage.input("data/synthesize/train"))
    cut = partial(draw, patches, replace(how.draw, batch=2 * how.draw.batch), scale=stage.scale)
    masked = wrap(net, chains, groups=chosen.groups)
    choices, history = search_masks(
        masked,
        chains,
        loss_of(duals, scale=stage.scale, weight=how.dual_weight, compute=stage.compute),
        lambda index: cut(rng=generator(stage.seed, stage.name, "batch", index)),
        count=count,
        remove=remove,
        tolerance=how.tolerance,
        multiple=chosen.multiple,
        steps=chosen.search_steps,
        learning_rate=how.learning_rate,
        mask_rate=how.width_rate,
        temperature=how.temperature,
        clip=how.clip,
        seed=(stage.seed, stage.name),
        trained=[duals],
        checkpoint=state,
        key=stage.key,
        log=stage.log,
    )
    plain = convert(masked, chains, multiple=chosen.multiple)
    widths = [len(choice.used) for choice in choices]
    scores = {
        **_scores(stage, None, widths, remove, units),
        "removed_fraction": _removed(count, choices),
        "expected_removed_fraction": history[-1]["removed"] if history else 0.0,
        "reads": {u.name: [len(c.inputs), c.groups.shape[1]] for u, c in zip(units, choices, strict=True)},
    }
    arch = {"inner": widths, "grouped": grouped_layers(plain)}
    return Smaller(plain, duals, widths_of(net, units), widths, arch, scores, history)


def _removed(count: Count, choices: Sequence[Any]) -> float:
    pairs = zip(count.terms, choices, strict=True)
    left = count.fixed + sum(t.at(len(c.inputs), len(c.used), c.groups.numel()) for t, c in pairs)
    return 1 - left / count.total


def _scores(
    stage: Stage, budget: Budget | None, widths: Sequence[int], remove: float, units: Sequence[Any]
) -> dict[str, Any]:
    """For metrics.json."""
    how = stage.params.search
    return {
        "widths": {unit.name: width for unit, width in zip(units, widths, strict=True)},
        "budget": {"measure": how.measure, "remove": remove, "tolerance": how.tolerance},
        **({} if budget is None else {"removed_fraction": budget.removed(widths)}),
    }

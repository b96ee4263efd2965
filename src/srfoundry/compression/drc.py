"""DRC's compressor: widths searched under the budget, the channels that the searched net came to rely on."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from srfoundry.compression.recipe import Conditions, Smaller, budget_of, cut_to
from srfoundry.compression.search import WidthSearch
from srfoundry.compression.settings import BudgetTarget, Compression, Searching
from srfoundry.compression.width_choice import wider
from srfoundry.dual_regression.batches import draw
from srfoundry.dual_regression.loss import loss_of
from srfoundry.imaging.patches import Patches


def compress(net: Any, duals: nn.Module, how: Compression, on: Conditions) -> Smaller:
    """As `search_widths`: a compressor, as in `compressors`."""
    return search_widths(net, duals, how.target, how.searching, on)


def search_widths(net: Any, duals: nn.Module, target: BudgetTarget, how: Searching, on: Conditions) -> Smaller:
    """Search the net's widths on two halves of the training photographs; net and duals are trained meanwhile.

    Warns where the ladders leave next to nothing to search.

    Raises:
        FoundryError: even the narrowest widths remove less than the target.
    """
    budget = budget_of(net, target, on)
    search = WidthSearch(
        net,
        loss_of(duals, scale=net.scale, weight=how.dual_weight, compute=on.compute),
        budget,
        target,
        how.model,
        how.descent,
        trained=[net, duals],
        rng=on.stream.rng("logits"),
    )
    free, units = wider(budget, target), len(budget.ladders)
    if 10 * free < units:
        warnings.warn(
            f"the search should have widths to choose from, got {free} of {units} layers that can keep more than their "
            f"narrowest width with {target.remove:.0%} removed; lower multiple, or remove less",
            stacklevel=2,
        )
    names = on.patches.photographs()

    def half(patches: Patches, part: str) -> Callable[[int], dict[int, Tensor]]:
        return lambda index: draw(patches, how.draws, scale=net.scale, rng=on.stream.rng(part, index))

    first, second = on.patches.only(names[0::2]), on.patches.only(names[1::2] or names)
    history = search.run((half(first, "train"), half(second, "alpha")), on.resumption)
    found = cut_to(search.kept.indices(), net, duals, budget, target, on)
    dense = {unit.name: width for unit, width in zip(net.units(), budget.dense, strict=True)}
    return replace(found, history=history, scores={**found.scores, "dense_widths": dense}, selectable=True)

"""DRC's compressor: widths searched under the budget, the channels that the searched net came to rely on."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from srfoundry.compression.recipe import Conditions, Smaller, budget_of, cut_to
from srfoundry.compression.search import Draw, WidthSearch
from srfoundry.compression.settings import BudgetTarget, Compression, Searching
from srfoundry.compression.width_choice import wider
from srfoundry.dual_regression.loss import loss_of


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
        loss_of(
            duals,
            scale=net.scale,
            weights=how.weights,
            # a second derivative goes through weights that a step has moved, and they are not there any more
            compute=replace(on.compute, checkpointing=on.compute.checkpointing and how.model.order == "first"),
        ),
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

    # the graph of a second order's virtual step is over all rows, whatever they are computed in
    compute = on.compute if how.model.order == "first" else replace(on.compute, accumulate=1)

    def half(part: str, which: Sequence[str]) -> Draw:
        halved = replace(on, patches=on.patches.only(which), compute=compute)
        return lambda index: halved.parts(how, net.scale, part, index)

    halves = (half("train", names[0::2]), half("alpha", names[1::2] or names))
    history = search.run(halves, on.resumption)
    found = cut_to(search.kept.indices(), net, duals, budget, target, on)
    dense = {unit.name: width for unit, width in zip(net.units(), budget.dense, strict=True)}
    return replace(found, history=history, scores={**found.scores, "dense_widths": dense}, selectable=True)

"""Masks that are settled on: the likeliest that meet a budget with groups of one size.

Drawn masks meet a budget only on average, and thresholded ones not even that: many logits end near zero. So a choice is
made for each pair (what its first maker reads, how many channels stay, how many of them each group reads; all in
multiples that runtimes like), the likeliest under the learned probabilities whose exact count is within the budget.
"""

import itertools
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from srfoundry.compression.budget import Budget, ladder
from srfoundry.compression.msgc.cost import Count, Term
from srfoundry.compression.msgc.layer_pairs import Choice, LayerPair, conv_of
from srfoundry.compression.msgc.masked_conv import layer_of, static_logits
from srfoundry.compression.settings import BudgetTarget
from srfoundry.compression.width_choice import likeliest
from srfoundry.core.errors import FoundryError

RUNGS = 16  # sizes of a layer that are tried, at most
Priced = tuple[float, float, Choice]  # cost, log probability but for a constant, what it is


def settle(net: nn.Module, pairs: Sequence[LayerPair], count: Count, target: BudgetTarget) -> list[Choice]:
    """The likeliest masks of a net with static ones whose removed cost is within the target.

    Of each pair, options that cost more and are less likely than another are left out first, which few budgets miss;
    where that ends above the band, every cost of every pair is tried. Where no combination is in the band (sizes are
    multiples), a warning says so, and what removes least above it is taken.

    Raises:
        FoundryError: the smallest sizes remove less.
    """
    options = [_priced(net, pair, term, target.multiple) for pair, term in zip(pairs, count.terms, strict=True)]
    budget, values, choices = _budget(count, [_better(rows) for rows in options])
    if budget.most() < target.remove:
        raise FoundryError(
            f"the fraction to remove must be at most {budget.most():.3f} with this network, its groups and sizes, "
            f"got {target.remove}; ask for less, or allow narrower layers (multiple)"
        )
    chosen = likeliest(budget, values, target)
    if budget.removed(chosen) > target.most:
        budget, values, choices = _budget(count, options)
        chosen = likeliest(budget, values, target)
    if (gone := budget.removed(chosen)) > target.most:
        warnings.warn(
            f"no masks in multiples of {target.multiple} remove {target.remove} to {target.most:.4g} of the cost; "
            f"taken are some that remove {gone:.4f}",
            stacklevel=2,
        )
    return [rows[index] for rows, index in zip(choices, chosen, strict=True)]


def freeze(net: nn.Module, pairs: Sequence[LayerPair], choices: Sequence[Choice]) -> None:
    """Set a net's static masks to these choices, for good: their logits become +1 and -1; in place."""
    for pair, choice in zip(pairs, choices, strict=True):
        rows = [(pair.makers[0], choice.inputs[None])] * pair.narrow + [(pair.reader, choice.groups)]
        for name, index in rows:
            logits = layer_of(net, name).logits
            assert logits is not None
            logits.requires_grad_(False)
            logits.copy_(torch.full_like(logits, -1.0).scatter_(1, index.to(logits.device), 1.0))


def _priced(net: nn.Module, pair: LayerPair, term: Term, multiple: int) -> list[Priced]:
    """The options of a pair, the likeliest of each cost; the cheapest first, the dense one last."""
    found: dict[float, Priced] = {}
    for value, choice in _options(net, pair, multiple):
        cost = term.of(choice)
        if cost not in found or value > found[cost][1]:
            found[cost] = (cost, value, choice)
    return [found[cost] for cost in sorted(found)]


def _better(rows: Sequence[Priced]) -> list[Priced]:
    """Those that are likelier than whatever costs less, and the dense one, which is the scale."""
    best, kept = -np.inf, []
    for row in rows:
        if row[1] > best or row is rows[-1]:
            best = max(best, row[1])
            kept.append(row)
    return kept


def _budget(count: Count, options: Sequence[Sequence[Priced]]) -> tuple[Budget, list[np.ndarray], list[list[Choice]]]:
    """The options as the ladders of a budget, their log probabilities, and what they stand for."""
    tables = tuple(tuple(cost for cost, _, _ in rows) for rows in options)
    budget = Budget(count.total, tuple(tuple(range(len(table))) for table in tables), tables)
    values = [np.array([value for _, value, _ in rows]) for rows in options]
    return budget, values, [[choice for _, _, choice in rows] for rows in options]


def _options(net: nn.Module, pair: LayerPair, multiple: int) -> list[tuple[float, Choice]]:
    """Every size of a pair with the likeliest masks of that size, and their log probability but for a constant."""
    logits = static_logits(net, pair.reader).double().cpu().numpy()
    groups, width = logits.shape
    if pair.narrow:
        first = static_logits(net, pair.makers[0])[0].double().cpu()
        order = torch.argsort(first, descending=True, stable=True)
        sums = first[order].cumsum(0)
        reads = [(float(sums[size - 1]), order[:size].sort().values) for size in _rungs(len(first), multiple)]
    else:
        reads = [(0.0, torch.arange(conv_of(net, pair.makers[0]).in_channels))]
    found = []
    for union, size in itertools.product(_rungs(width, multiple), repeat=2):
        if size <= union <= size * groups:
            index = assign(logits, size, union)
            value = float(np.take_along_axis(logits, index, 1).sum())
            picked = torch.from_numpy(index)
            found += [(value + likely, Choice(inputs, picked)) for likely, inputs in reads]
    return found


def _rungs(channels: int, multiple: int) -> list[int]:
    """Sizes to try: the ladder of widths, thinned where it is long."""
    step = multiple * max(1, -(-channels // (multiple * RUNGS)))
    return ladder(channels, step)


def assign(logits: Float[np.ndarray, "g c"], size: int, union: int) -> Int[np.ndarray, "g size"]:
    """`size` channels for each group, `union` different ones in all, with a large sum of logits; rows ascend.

    The best channels by log sum exp over the groups form the union. Each group takes its best of them; a channel that
    none took replaces, where that costs least, one that another group reads as well.
    """
    groups, width = logits.shape
    assert size <= union <= min(width, size * groups), (size, union, logits.shape)
    pool = np.sort(np.argsort(-np.logaddexp.reduce(logits, axis=0), kind="stable")[:union])
    taken = np.zeros((groups, width), dtype=bool)
    order = pool[np.argsort(-logits[:, pool], axis=1, kind="stable")[:, :size]]
    np.put_along_axis(taken, order, True, axis=1)
    for channel in pool[~taken[:, pool].any(0)]:
        spare = taken & (taken.sum(0) > 1)
        loss = np.where(spare, logits - logits[:, [channel]], np.inf)
        group, gone = np.unravel_index(int(loss.argmin()), loss.shape)
        taken[group, gone], taken[group, channel] = False, True
    return np.stack([row.nonzero()[0] for row in taken])

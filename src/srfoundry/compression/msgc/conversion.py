"""Masks that are settled: the likeliest ones that meet a budget with groups of one size, and the plain net they give.

Drawn masks meet a budget only on average, and thresholded ones not even that: many logits end near zero. So a choice is
made for each chain (what its first maker reads, how many channels stay, how many of them each group reads; all in
multiples that runtimes like), the likeliest under the learned probabilities whose exact count is within the budget.
"""

import copy
import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from srfoundry.compression.budget import Budget, ladder, likeliest
from srfoundry.compression.msgc.layer_pairs import Chain, conv_of, depthwise
from srfoundry.compression.msgc.cost import Count, Term
from srfoundry.compression.msgc.masked_conv import layer_of
from srfoundry.core.errors import FoundryError
from srfoundry.networks.zoo.gather_conv import GatherConv2d, like

Net = TypeVar("Net", bound=nn.Module)
RUNGS = 16  # sizes of a layer that are tried, at most


@dataclass(frozen=True)
class Choice:
    """What stays of a chain: channels that the first maker reads, and those that each group of the reader reads.

    `inputs` ascends (all of them where the maker is not narrow); `groups` is g x k, each row ascending.
    """

    inputs: Int[Tensor, " n"]
    groups: Int[Tensor, "g k"]

    @property
    def used(self) -> list[int]:
        """The channels that any group reads, ascending."""
        return sorted(set(self.groups.flatten().tolist()))


Priced = tuple[float, float, Choice]  # cost, log probability but for a constant, what it is


def settle(
    net: nn.Module, chains: Sequence[Chain], count: Count, *, remove: float, tolerance: float, multiple: int
) -> list[Choice]:
    """The likeliest masks of a net with static ones whose removed cost is in [remove, remove + tolerance].

    Of each chain, options that cost more and are less likely than another are left out first, which few budgets miss;
    where that ends above the band, every cost of every chain is tried. Where no combination is in the band (sizes are
    multiples), a warning says so, and what removes least above it is taken.

    Raises:
        FoundryError: the smallest sizes remove less.
    """
    options = [_priced(net, chain, term, multiple) for chain, term in zip(chains, count.terms, strict=True)]
    budget, values, choices = _budget(count, [_better(rows) for rows in options])
    if budget.most() < remove:
        raise FoundryError(
            f"the fraction to remove must be at most {budget.most():.3f} with this network, its groups and sizes, "
            f"got {remove}; ask for less, or allow narrower layers (multiple)"
        )
    chosen = likeliest(budget, values, remove, tolerance)
    if budget.removed(chosen) > remove + tolerance:
        budget, values, choices = _budget(count, options)
        chosen = likeliest(budget, values, remove, tolerance)
    if (gone := budget.removed(chosen)) > remove + tolerance:
        warnings.warn(
            f"no masks in multiples of {multiple} remove {remove} to {remove + tolerance:.4g} of the cost; "
            f"taken are some that remove {gone:.4f}",
            stacklevel=2,
        )
    return [rows[index] for rows, index in zip(choices, chosen, strict=True)]


def freeze(net: nn.Module, chains: Sequence[Chain], choices: Sequence[Choice]) -> None:
    """Set a net's static masks to these choices, for good: their logits become +1 and -1; in place."""
    for chain, choice in zip(chains, choices, strict=True):
        rows = [(chain.makers[0], choice.inputs[None])] * chain.narrow + [(chain.reader, choice.groups)]
        for name, index in rows:
            logits = layer_of(net, name).logits
            assert logits is not None
            logits.requires_grad_(False)
            logits.copy_(torch.full_like(logits, -1.0).scatter_(1, index.to(logits.device), 1.0))


def convert(net: Net, chains: Sequence[Chain], *, multiple: int = 4, ragged: bool = False) -> Net:
    """The net of plain operators that a net with settled static masks is: pruned makers, Gather, grouped convolution.

    Equal to the masked net but for rounding. Where a layer reads all it stays, or becomes, a plain convolution.

    Args:
        multiple: sizes of groups that are no multiple of it are warned about (unless they are whole): slow.
        ragged: fill smaller groups up with channels of weight zero, and warn, instead of refusing them.

    Raises:
        FoundryError: masks are sample-wise or with attention factors, or the groups of a layer differ in size.
    """
    plain = copy.deepcopy(net)
    for chain in chains:
        reader = _settled(plain, chain.reader)
        mask = reader >= 0
        _check(chain.reader, mask, multiple, ragged)
        index, real = _filled(mask)
        used = torch.unique(index)
        layer = layer_of(plain, chain.reader).conv
        place = torch.full((mask.shape[1],), -1, device=mask.device).scatter_(0, used, torch.arange(len(used)).to(used))
        plain.set_submodule(chain.reader, _gathering(layer, index, real, place[index], inputs=len(used)))
        _narrow_makers(plain, chain, used)
    return plain


def _settled(net: nn.Module, name: str) -> Tensor:
    layer = layer_of(net, name)
    if layer.logits is None or layer.attention is not None:
        raise FoundryError(
            f"plain operators need static masks without attention, got others at {name}; "
            "export the masked net itself (it saves nothing), or train static masks"
        )
    return layer.logits.detach()


def _check(name: str, mask: Tensor, multiple: int, ragged: bool) -> None:
    sizes = mask.sum(1).tolist()
    if len(set(sizes)) > 1 and not ragged:
        raise FoundryError(
            f"the groups of {name} must read equally many channels, got {sizes}: a runtime needs longer for such a "
            "layer than for the dense one; choose masks by grouped.settle, or say ragged=True"
        )
    odd = max(sizes) % multiple and max(sizes) < mask.shape[1]
    if len(set(sizes)) > 1 or odd:
        warnings.warn(
            f"the groups of {name} read {sizes} channels; runtimes are quick at equal multiples of {multiple}",
            stacklevel=3,
        )


def _filled(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Channels of each group, g x k, and which of these places are the group's own; the others are fill."""
    sizes = mask.sum(1)
    size = max(1, int(sizes.max()))
    order = torch.argsort(mask.to(torch.uint8), dim=1, descending=True, stable=True)[:, :size]
    real = torch.arange(size, device=mask.device)[None] < sizes[:, None]
    some = order[int(sizes.argmax()), 0]  # fill with what is read anyway
    return torch.where(real, order, some), real


def _gathering(conv: nn.Conv2d, index: Tensor, real: Tensor, place: Tensor, *, inputs: int) -> nn.Module:
    """The reader: weights of the chosen channels, group by group, and where those channels are now."""
    groups, size = index.shape
    weight = conv.weight.detach().unflatten(0, (groups, -1))  # g o c k l
    taken = torch.stack([weight[g][:, index[g]] for g in range(groups)])
    taken = taken * real[:, None, :, None, None]
    if size == inputs and bool((place == torch.arange(inputs, device=place.device)).all()):
        made = like(conv, inputs=inputs, outputs=conv.out_channels, groups=1)
        return _filled_in(made, taken.flatten(0, 1), conv.bias)
    made = like(conv, inputs=groups * size, outputs=conv.out_channels, groups=groups)
    _filled_in(made, taken.flatten(0, 1), conv.bias)
    return GatherConv2d(made, place.flatten(), inputs)


def _narrow_makers(net: nn.Module, chain: Chain, used: Tensor) -> None:
    """Leave the makers and norms of a chain the used channels alone, and what the first maker reads."""
    rows = (used[:, None] * chain.fold + torch.arange(chain.fold, device=used.device)).flatten()
    for position, name in enumerate(chain.makers):
        conv = layer_of(net, name).conv if position == 0 and chain.narrow else conv_of(net, name)
        alone, index = depthwise(conv), None
        if position == 0:
            index = torch.arange(conv.in_channels, device=used.device)
            if alone:
                index = used
            elif chain.narrow:
                index = (_settled(net, name)[0] >= 0).nonzero()[:, 0]
            if len(index) == 0:
                raise FoundryError(f"{name} must read a channel at least, got masks that shut all; settle them first")
        weight = conv.weight.detach()[rows]
        if index is not None and not alone:
            weight = weight[:, index]
        read = len(rows) if alone else len(index) if index is not None else conv.in_channels
        made = like(conv, inputs=read, outputs=len(rows), groups=len(rows) if alone else 1)
        _filled_in(made, weight, None if conv.bias is None else conv.bias.detach()[rows])
        if index is None or len(index) == conv.in_channels:
            net.set_submodule(name, made)
        else:
            net.set_submodule(name, GatherConv2d(made, index, conv.in_channels))
    for name in chain.norms:
        norm = net.get_submodule(name)
        assert isinstance(norm, nn.BatchNorm2d)
        for key, value in [*norm.named_parameters(), *norm.named_buffers()]:
            if value.ndim:
                kept = value.detach()[used].clone()
                setattr(norm, key, nn.Parameter(kept) if isinstance(value, nn.Parameter) else kept)
        norm.num_features = len(used)


def _filled_in(conv: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    with torch.no_grad():
        conv.weight.copy_(weight)
        if bias is not None:
            assert conv.bias is not None
            conv.bias.copy_(bias)
    return conv


def _priced(net: nn.Module, chain: Chain, term: Term, multiple: int) -> list[Priced]:
    """The options of a chain, the likeliest of each cost; the cheapest first, the dense one last."""
    found: dict[float, Priced] = {}
    for value, choice in _options(net, chain, multiple):
        cost = term.at(len(choice.inputs), len(choice.used), choice.groups.numel())
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


def _options(net: nn.Module, chain: Chain, multiple: int) -> list[tuple[float, Choice]]:
    """Every size of a chain with the likeliest masks of that size, and their log probability but for a constant."""
    logits = _settled(net, chain.reader).double().cpu().numpy()
    groups, width = logits.shape
    if chain.narrow:
        first = _settled(net, chain.makers[0])[0].double().cpu()
        order = torch.argsort(first, descending=True, stable=True)
        sums = first[order].cumsum(0)
        reads = [(float(sums[size - 1]), order[:size].sort().values) for size in _rungs(len(first), multiple)]
    else:
        reads = [(0.0, torch.arange(conv_of(net, chain.makers[0]).in_channels))]
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

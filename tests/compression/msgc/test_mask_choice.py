"""Masks that are settled on: their groups cover their union, and a budget that can be met is met."""

import itertools
import warnings

import torch

from srfoundry.compression.msgc.cost import count_of
from srfoundry.compression.msgc.layer_pairs import pairs_of
from srfoundry.compression.msgc.mask_choice import _priced, assign, settle
from srfoundry.compression.msgc.masked_conv import (
    MSGConv2d,
    wrap,
)
from srfoundry.compression.width_choice import GRID
from srfoundry.core.seeds import generator
from tests.masks import LOW, edsr
from tests.searches import wanted


def test_assigned_groups_cover_their_union() -> None:
    logits = torch.randn(4, 24, generator=generator(1, "logits")).numpy()
    for size, union in ((8, 8), (8, 16), (8, 24), (4, 16), (24, 24)):
        rows = assign(logits, size, union)
        assert rows.shape == (4, size) and all(sorted(set(row)) == row for row in rows.tolist())
        assert len(set(rows.flatten().tolist())) == union


def test_settling_finds_what_the_short_list_misses() -> None:
    """A band that options which cost more and are less likely are needed for; and one that nothing is in."""
    narrow = 0
    for seed in range(12):
        net = edsr(16)
        pairs = pairs_of(net.units())
        masked = wrap(net, pairs)
        for layer in masked.modules():
            if isinstance(layer, MSGConv2d):
                assert layer.logits is not None
                layer.logits.data = torch.randn(layer.logits.shape, generator=generator(seed, layer.name)) * 2 - 2
        count = count_of(net, pairs, groups=4, low=LOW)
        every = [{round(row[0]) for row in _priced(masked, c, t, 4)} for c, t in zip(pairs, count.terms, strict=True)]
        left = [count.fixed + sum(costs) for costs in itertools.product(*every)]
        remove = 0.2 + 0.01 * seed
        band, spare = ((1 - remove - 0.001) * count.total, (1 - remove) * count.total), 3 * count.total / GRID
        possible = any(band[0] + spare <= cost <= band[1] - spare for cost in left)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            choices = settle(masked, pairs, count, wanted(remove, 0.001, multiple=4))
        cost = count.total * (1 - count.removed_by(choices))
        assert cost <= band[1]
        assert bool(said) == (cost < band[0] - 1e-6)
        assert not (possible and said), (seed, remove)
        narrow += possible
    assert 0 < narrow < 12

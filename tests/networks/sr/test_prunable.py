"""Inner widths of every kind: what is masked is what is removed, and every count is of the net that is really made."""

import pytest
import torch
from torch import Tensor, nn

from srfoundry.core.seeds import generator
from srfoundry.networks.sr.drn import DRN
from srfoundry.networks.sr.multiplications import multiplications
from srfoundry.networks.sr.prunable import (
    Unit,
    consumer_columns,
    end_of,
    importance_order,
    largest,
    masked,
    parameters_at,
    producer_rows,
    thin,
    widths_of,
)
from tests.closed import count
from tests.stub import attentive

KEPT = [torch.tensor([0, 3]), torch.tensor([1, 4, 5, 11]), torch.tensor([2, 7, 6])]


def flags(kept: Tensor, width: int) -> Tensor:
    found = torch.zeros(width)
    found[kept] = 1
    return found


def test_rows_and_columns() -> None:
    unit = Unit("u", "a", "b", fold=2, copies=2, spans=3)
    assert producer_rows(torch.tensor([0, 2]), unit, 3).tolist() == [0, 1, 4, 5, 6, 7, 10, 11]
    assert consumer_columns(torch.tensor([0, 2]), unit, 3).tolist() == [0, 2, 3, 5, 6, 8]


def test_masked_is_thinned_for_attention_perceptron_and_shuffle() -> None:
    net = attentive()
    units, widths = net.units(), widths_of(net, net.units())
    assert widths == [4, 12, 8]
    low = torch.rand(2, 3, 6, 5, generator=generator(1, "low"))
    asked = [lambda kept=kept, width=width: flags(kept, width) for kept, width in zip(KEPT, widths, strict=True)]
    with masked(net, units, asked), torch.no_grad():
        wanted = net(low)
    smaller = thin(net, units, KEPT)
    assert widths_of(smaller, units) == [2, 4, 3]
    torch.testing.assert_close(smaller(low), wanted, atol=2e-6, rtol=0)
    assert float((smaller(low) - net(low)).detach().abs().max()) > 1e-2, "the mask does nothing"
    assert len(end_of(smaller, "qkv").weight) == 3 * 2 * 2


def test_the_queries_are_part_of_an_attention_unit() -> None:
    """Without its gate the products of queries and keys would keep what surgery takes away."""
    net = attentive()
    unit = net.units()[0]
    ungated = Unit(unit.name, unit.producer, unit.consumer, copies=unit.copies, spans=unit.spans)
    low = torch.rand(1, 3, 5, 5, generator=generator(1, "low"))
    with masked(net, [ungated], [lambda: flags(KEPT[0], 4)]), torch.no_grad():
        other = net(low)
    assert float((thin(net, [unit], KEPT[:1])(low) - other).detach().abs().max()) > 1e-3


def test_masks_follow_their_factors_and_go() -> None:
    net = attentive()
    low = torch.rand(1, 3, 4, 4, generator=generator(1, "low"))
    factor = torch.ones(12)
    with torch.no_grad():
        plain = net(low)
        with masked(net, [net.units()[1]], [lambda: factor]):
            torch.testing.assert_close(net(low), plain, atol=0, rtol=0)
            factor[3] = 0
            assert not torch.equal(net(low), plain)
        assert torch.equal(net(low), plain)


@pytest.mark.parametrize("widths", [[4, 12, 8], [1, 5, 3], [3, 12, 1]])
def test_counts_are_those_of_the_thinned_net(widths: list[int]) -> None:
    net = attentive()
    smaller = thin(net, net.units(), largest(net, net.units(), widths))
    assert parameters_at(net, net.units(), widths) == count(smaller)
    assert widths_of(smaller, net.units()) == widths


def test_importance_ties_the_heads() -> None:
    weight = torch.zeros(2, 6)  # two spans of three channels
    weight[0] = torch.tensor([1.0, 0, 2.0, -1.0, 5.0, 0])
    assert importance_order(weight, 2).tolist() == [1, 0, 2]
    assert importance_order(weight[:, :, None, None]).tolist() == [4, 2, 0, 3, 1, 5]


def test_attention_is_counted_as_its_two_products() -> None:
    net = attentive()
    pixels, heads, dim = 6 * 5, 2, 8
    less = thin(net, net.units()[:1], [torch.tensor([0, 1, 2])])
    low = torch.zeros(1, 3, 6, 5)
    per_channel = heads * (2 * pixels**2 + pixels * (3 * (dim + 1) + dim))
    assert multiplications(net, low) - multiplications(less, low) == per_channel
    assert multiplications(net.to("meta"), low.to("meta")) == multiplications(attentive(), low)


def test_ends_must_be_plain() -> None:
    with pytest.raises(TypeError, match="plain convolutions"):
        end_of(DRN(scale=2, blocks=1, width=8), "ups.0")
    with pytest.raises(TypeError, match="plain convolutions"):
        end_of(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), "0")

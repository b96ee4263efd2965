"""What made an image small shows in the differences beside its edges."""

import torch
from torch import Tensor

from srfoundry.core.seeds import generator
from srfoundry.imaging import resize
from srfoundry.networks.nonblind.edge_profiles import HEIGHTS, LARGER, PLACES, SMALLER, count_profiles, profiles


def steps(count: int = 120) -> Tensor:
    """Dark and light bars that begin anywhere."""
    widths = torch.randint(9, 24, (4, count), generator=generator(1, "steps"))
    bars = torch.repeat_interleave(torch.arange(count) % 2, widths[0])[:512]
    return (60 + 120 * bars).float().expand(1, 1, 128, -1).contiguous()


def shares(levels: Tensor) -> Tensor:
    """Of the highest edges, by the larger and the smaller difference beside them."""
    found = profiles(levels[0])[0]
    assert len(found) == count_profiles()
    return found[: len(HEIGHTS) * PLACES].square().view(len(HEIGHTS), len(LARGER) + 1, len(SMALLER) + 1)[-1]


def test_each_reduction_leaves_its_own_edges() -> None:
    high, still = steps(), SMALLER.index(0.0)
    low = resize.cubic(high / 255, 0.5) * 255
    single, blocks = shares(high[..., ::2, ::2]), shares(torch.nn.functional.avg_pool2d(high, 2))
    assert single[LARGER.index(0.0)].sum() > 0.85  # a step between two pixels, nothing beside it
    assert 0.3 < blocks[LARGER.index(0.45) :].sum() < 0.7  # half of the edges fall into a block
    assert single[:, :still].sum() < 0.01 and blocks[:, :still].sum() < 0.01
    assert shares(low)[:, :still].sum() > 0.5  # negative lobes: an overshoot on a side at least


def test_a_flat_window_has_no_edges_and_turning_one_changes_nothing() -> None:
    assert not profiles(torch.full((2, 32, 32), 90.0)).any()
    window = 255 * torch.rand(1, 40, 40, generator=generator(2, "window"))
    assert torch.allclose(profiles(window), profiles(window.mT.contiguous()))

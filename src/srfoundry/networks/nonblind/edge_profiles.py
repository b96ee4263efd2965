"""How edges cross from one side to the other, counted over a window: what made an image small shows in its pixels.

Where a sharp scene is sampled at single points, an edge is one step between two pixels. Means of blocks put one pixel
of any value between them, so that the step is shared by two neighbours and stops there. Negative lobes (bicubic,
Lanczos) add an overshoot on both sides: the steps beside the largest have the other sign. A blur shares the step among
many. Spectra lose this, since they add up edges of all places between pixels; a histogram keeps it.

An edge is a largest difference between neighbours along a row or a column that is not met under a sharp angle. Counted
are, relative to it, the larger and the smaller of the two differences beside it (together), and the two after those.
"""

import torch
from jaxtyping import Float
from torch import Tensor

LARGER = (-0.15, 0.0, 0.08, 0.18, 0.3, 0.45, 0.65)  # limits of the bins, of the edge's own difference
SMALLER = (-0.3, -0.15, -0.06, 0.0, 0.06, 0.15, 0.3, 0.5)
FURTHER = (-0.2, -0.08, 0.0, 0.08, 0.2)
HEIGHTS = (6.0, 12.0, 24.0, 48.0)  # levels; least of the bins of heights, since noise bends low edges more
SLANT = 0.7  # largest difference across an edge's own direction, of its own
FEW = 6.0  # edges that are added to the count, so that a handful does not look like a law

PLACES = (len(LARGER) + 1) * (len(SMALLER) + 1)
BESIDE = len(FURTHER) + 1


def count_profiles() -> int:
    """How many numbers `profiles` gives for a window."""
    return len(HEIGHTS) * (PLACES + BESIDE + 1)


def profiles(levels: Float[Tensor, "b h w"]) -> Float[Tensor, "b n"]:
    """Roots of the shares of edges in each bin, for each bin of heights, and logarithms of their numbers.

    Args:
        levels: windows, range [0, 255], five pixels a side or more.
    """
    heights = len(HEIGHTS)
    near = levels.new_zeros(len(levels), heights * PLACES + 1)
    far = levels.new_zeros(len(levels), heights * BESIDE + 1)
    for along in (levels, levels.mT):
        _count(along.contiguous(), near, far)
    near, far = (each[:, :-1].view(len(levels), heights, -1) for each in (near, far))
    number = near.sum(dim=2, keepdim=True)
    shares = [(each / (number + FEW)).sqrt().flatten(1) for each in (near, far / 2)]
    return torch.cat([*shares, (number[..., 0] + 1).log()], dim=1)


def _count(levels: Float[Tensor, "b h w"], near: Float[Tensor, "b n"], far: Float[Tensor, "b m"]) -> None:
    """Add the edges along rows to the histograms, whose last bins take what is none; nothing waits for the device."""
    steps = levels[:, 1:-1].diff(dim=2)
    across = (levels[:, 2:] - levels[:, :-2]) / 2
    across = (across[..., 1:] + across[..., :-1]).abs()[..., 2:-2] / 2
    second, first, middle, third, fourth = (steps[..., at : steps.shape[-1] - 4 + at] for at in range(5))
    height = middle.abs()
    edge = (height >= first.abs()) & (height > third.abs()) & (height >= HEIGHTS[0]) & (across < SLANT * height)
    safe = torch.where(edge, middle, torch.ones_like(middle))
    left, right = first / safe, third / safe
    row = _bin(height, HEIGHTS[1:])
    place = (row * (len(LARGER) + 1) + _bin(torch.maximum(left, right), LARGER)) * (len(SMALLER) + 1)
    _add(near, place + _bin(torch.minimum(left, right), SMALLER), edge)
    for beyond in (second / safe, fourth / safe):
        _add(far, row * BESIDE + _bin(beyond, FURTHER), edge)


def _bin(values: Tensor, limits: tuple[float, ...]) -> Tensor:
    return torch.bucketize(values, values.new_tensor(limits))


def _add(counts: Float[Tensor, "b n"], place: Tensor, counted: Tensor) -> None:
    place = torch.where(counted, place, counts.shape[1] - 1).flatten(1)
    counts.scatter_add_(1, place, torch.ones_like(place, dtype=counts.dtype))

"""Joined ends: the image stays, the seam is as smooth as the image, and small images are mirrored on and on."""

import pytest
import torch

from srfoundry.core.seeds import generator
from srfoundry.degradation.borders import Fade, join_ends, quick_room


@pytest.mark.parametrize("fade", ["linear", "cosine"])
def test_joined_ends_leave_the_image_alone_and_meet(fade: Fade) -> None:
    low = torch.rand(1, 3, 9, 12, generator=generator(1, "low"))
    wide = join_ends(low, (6, 5), fade=fade)
    assert wide.shape == (1, 3, 15, 17) and torch.equal(wide[..., :9, :12], low)
    steps = (wide[..., 9, :12] - low[..., 8, :]).abs(), (wide[..., -1, :12] - low[..., 0, :]).abs()
    assert max(float(step.max()) for step in steps) < 0.2  # the first added pixel is nearly the mirrored last one
    assert float((join_ends(torch.ones(1, 1, 3, 3), (8, 8), fade=fade) - 1).abs().max()) < 1e-6
    assert join_ends(low, (0, 0), fade=fade) is low


@pytest.mark.parametrize("extent, least, room", [(256, 15, 24), (64, 15, 16), (40, 0, 0), (9, 8, 9), (5, 9, 5)])
def test_joined_extents_are_multiples_of_eight_with_small_primes(extent: int, least: int, room: int) -> None:
    """256 + 15 is a prime; the last two images have no more than 9 and 5 pixels to lead on with."""
    assert quick_room(extent, least) == room
    assert (extent + room) % 8 == 0 or room == extent

"""Drawings by program: sharp, of any size, the same for the same seed."""

import pytest
import torch

from srfoundry.core.seeds import generator
from srfoundry.imaging import drawings


@pytest.mark.parametrize("side", [40, 168])
def test_drawings_have_edges_as_sharp_as_a_screen_shows(side: int) -> None:
    drawn = drawings.drawn(24, side, rng=generator(1, "drawings"))
    assert drawn.shape == (24, side, side)
    assert 0 <= float(drawn.min()) < float(drawn.max()) <= 1
    contrast = drawn.amax(dim=(1, 2)) - drawn.amin(dim=(1, 2))
    steepest = drawn.diff(dim=2).abs().amax(dim=(1, 2))
    assert float((steepest > 0.5 * contrast).float().mean()) > 0.7  # half of all that there is, in one pixel
    even = (drawn.diff(dim=2) == 0).float().mean(dim=(1, 2))
    assert float(even.median()) > 0.5


def test_a_seed_gives_its_drawings() -> None:
    first, again, other = (drawings.drawn(3, 48, rng=generator(seed, "drawings")) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert drawings.drawn(0, 48, rng=generator(1, "drawings")).shape == (0, 48, 48)

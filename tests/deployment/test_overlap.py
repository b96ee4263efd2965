"""The overlap of tiles follows from an error that is measured, not from how far a network might look."""

import numpy as np
import pytest
import torch

from srfoundry.core import seeds
from srfoundry.deployment import export, overlap
from srfoundry.imaging import tiling
from tests import tiny


def photographs(count: int = 2, side: int = 96) -> list[np.ndarray]:
    found = []
    for index in range(count):
        noise = torch.rand(1, 3, side // 8, side // 8, generator=seeds.generator(0, "overlap", index))
        found.append(torch.nn.functional.interpolate(noise, size=(side, side), mode="bilinear").numpy())
    return found


def blur(radius: int) -> tiling.Upscale:
    """A net that sees `radius` pixels to each side, and all of them alike."""

    def run(low: np.ndarray) -> np.ndarray:
        padded = np.pad(low, ((0, 0), (0, 0), (radius, radius), (radius, radius)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * radius + 1, 2 * radius + 1), axis=(2, 3))
        return windows.mean(axis=(-1, -2), dtype=np.float64).astype(np.float32)

    return run


def test_a_net_that_looks_further_needs_more() -> None:
    pixels = [overlap.least(blur(radius), photographs(), 1, 2e-3).pixels for radius in (1, 4, 5, 7, 11)]
    assert pixels == [8, 8, 12, 16, 24]


@pytest.mark.parametrize("radius", [3, 6, 9])
@pytest.mark.parametrize("tolerance", [2e-3, 2e-2])
def test_it_bounds_the_worst_line_of_a_tiled_image(radius: int, tolerance: float) -> None:
    pictures, net = photographs(), blur(radius)
    found = overlap.least(net, pictures, 1, tolerance)
    assert found.error <= tolerance
    for low in pictures:
        difference = tiling.tiled(net, low, 1, tile=65, overlap=found.pixels) - net(low)
        squares = np.square(difference, dtype=np.float64).mean(axis=(0, 1))
        assert max(squares.mean(axis=0).max(), squares.mean(axis=1).max()) ** 0.5 <= max(found.error, 1e-6)


def test_what_means_over_the_tile_change_is_no_reason_for_more() -> None:
    """No overlap mends the brightness that a net takes from the whole image; a small member has as much of it."""

    def by_mean(low: np.ndarray) -> np.ndarray:
        return (0.8 * low + 0.2 * low.mean()).astype(np.float32)

    found = overlap.least(by_mean, photographs(), 1, 1e-6)
    assert found.pixels == 8 and found.error > 1e-4


def test_small_pictures_and_none_are_taken() -> None:
    assert overlap.least(blur(7), photographs(1, 16), 1, 1e-6) == overlap.Overlap(16, 0.0)  # nothing is further away
    assert overlap.least(blur(7), [], 1, 1e-6) == overlap.Overlap(8, 0.0)


def test_the_card_says_it() -> None:
    card = export.describe(
        tiny.net(), tiny.card(), tiny.TARGET, pictures=photographs(), name="tiny", data_hash="", metrics={}
    )
    found = overlap.least(export.OnnxNet(tiny.net()).run, photographs(), 2, tiny.TARGET.tile_error)
    assert (card.overlap, card.tile_error) == (found.pixels, round(found.error, 6))

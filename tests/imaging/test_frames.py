"""Bars around a picture are found; what is even inside of it, or around an object, is none."""

import numpy as np
import pytest
import torch

from srfoundry.imaging import frames, images
from srfoundry.imaging.user_image import Photograph


def photograph() -> np.ndarray:
    path = next(path for path in images.bundled() if path.stem == "coffee")
    return images.to_uint8(images.read(path))[0].numpy()[40:180, 60:260]


def framed(top: int, bottom: int, left: int, right: int, level: int = 0) -> np.ndarray:
    return np.pad(photograph(), ((top, bottom), (left, right), (0, 0)), constant_values=level)


@pytest.mark.parametrize(("bars", "level"), [((20, 20, 0, 0), 0), ((0, 0, 16, 9), 255), ((8, 12, 5, 6), 30)])
def test_the_picture_lies_inside_of_its_bars(bars: tuple[int, int, int, int], level: int) -> None:
    box = frames.picture(framed(*bars, level=level))
    assert box is not None
    top, left, tall, wide = box
    height, width = photograph().shape[:2]
    ends = (top, height + bars[0] + bars[1] - top - tall, left, width + bars[2] + bars[3] - left - wide)
    for found, bar in zip(ends, bars, strict=True):
        assert (found == 0) if bar == 0 else bar <= found <= bar + 2


def test_bars_are_found_in_a_jpeg_file() -> None:
    whole = images.from_uint8(torch.from_numpy(framed(20, 20, 0, 0))[None])
    box = frames.picture(images.to_uint8(images.jpeg(whole, 75))[0].numpy())
    assert box is not None and 20 <= box[0] <= 24 and 20 <= 180 - box[0] - box[2] <= 24


def test_what_has_none_is_left_whole() -> None:
    assert frames.picture(photograph()) is None
    assert frames.picture(np.full((40, 50, 3), 7, np.uint8)) is None
    ramp = np.broadcast_to(np.arange(120, dtype=np.uint8)[:, None, None] * 2, (120, 80, 3))
    assert frames.picture(np.ascontiguousarray(ramp)) is None
    product = np.full((100, 120, 3), 255, np.uint8)
    product[30:80, 50:90] = photograph()[:50, :40]  # a small object on white
    assert frames.picture(product) is None


def test_a_picture_that_is_too_small_stays_where_it_is() -> None:
    original = Photograph(framed(20, 20, 0, 0), None, False, {})
    inside, box = frames.without_bars(original, least=32)
    assert box is not None and inside.pixels.shape[:2] == box[2:]
    assert frames.without_bars(original, least=1000) == (original, None)

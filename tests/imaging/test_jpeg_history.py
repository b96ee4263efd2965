"""The quality of a JPEG, from its tables and from what it left in the pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from srfoundry.imaging import jpeg_history
from srfoundry.imaging.damage import LUMA
from tests.photographs import NAMES, clean, packed


def quality_seen(image: Image.Image) -> int | None:
    return jpeg_history.quality_seen([np.asarray(image) @ LUMA])


@pytest.mark.parametrize("quality", [1, 10, 30, 50, 75, 80, 92, 95, 100])
def test_the_tables_say_what_libjpeg_was_told(quality: int) -> None:
    file = io.BytesIO()
    clean("coffee").save(file, "JPEG", quality=quality)
    opened = Image.open(file)
    assert jpeg_history.quality_of(opened.quantization) == quality  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("quality", [24, 50, 75, 90])
@pytest.mark.parametrize("name", NAMES[:3])
def test_pixels_remember_their_compression_wherever_they_were_cut(name: str, quality: int) -> None:
    made = packed(clean(name), quality)
    for left, top in ((0, 0), (3, 5)):
        found = quality_seen(made.crop((left, top, made.width - left, made.height)))
        assert found is not None and abs(found - quality) <= 2


@pytest.mark.parametrize("name", NAMES)
def test_what_was_none_or_was_resized_shows_none(name: str) -> None:
    assert quality_seen(clean(name)) is None
    made = packed(clean(name), 50)
    assert quality_seen(made.resize((made.width * 3 // 4, made.height * 3 // 4), Image.Resampling.BICUBIC)) is None


def test_gradients_and_fine_patterns_were_none() -> None:
    """They match some quality's steps wherever a grid is put."""
    down, across = np.mgrid[:192, :192]
    sky = (40 + across * 0.9, 90 + down * 0.5, 210 - down * 0.3)
    pattern = [255 * ((down + across) % 2)] * 3
    paper = [np.where((down % 8 == 0) | (across % 8 == 0), 180, 250)] * 3
    for channels in (sky, [across * 255 / 191] * 3, pattern, paper):
        image = Image.fromarray(np.stack(channels, axis=-1).round().astype(np.uint8))
        assert quality_seen(image) is None


def test_a_file_that_was_two_is_seen() -> None:
    twice = packed(packed(clean("coffee"), 80).crop((3, 5, 259, 261)), 80)
    assert quality_seen(twice) is not None


def test_what_holds_no_block_shows_none() -> None:
    assert jpeg_history.quality_seen([np.zeros((14, 300))]) is None and jpeg_history.quality_seen([]) is None


@pytest.mark.parametrize("name", NAMES[:3])
def test_faint_compression_is_seen_by_its_wide_steps(name: str) -> None:
    made = np.asarray(packed(clean(name), 95)) @ LUMA
    for left, top in ((0, 0), (3, 5)):
        assert jpeg_history.faint_quality_seen([made[top:, left:]]) in (94, 95)
    assert jpeg_history.faint_quality_seen([np.asarray(clean(name)) @ LUMA]) is None

"""What is measured of a photograph follows what was done to it."""

import numpy as np
import pytest
from PIL import Image

from srfoundry.imaging import damage as damages
from srfoundry.imaging.damage import Damage, damage
from tests import photographs
from tests.photographs import blurred, clean, noisy, packed


def seen(image: Image.Image) -> Damage:
    return damage(np.asarray(image))


@pytest.mark.parametrize("name", photographs.NAMES)
def test_a_clean_reduction_has_neither_history_nor_noise(name: str) -> None:
    found = seen(clean(name))
    assert found.quality is None and found.noise < 0.5 and 0.25 < found.blur < 0.6


@pytest.mark.parametrize("name", photographs.NAMES)
def test_noise_is_measured_through_texture(name: str) -> None:
    luminance = np.sqrt(np.sum(damages.LUMA**2))  # of noise that is independent in the colours
    for deviation in (5, 15):
        assert seen(noisy(clean(name), deviation)).noise == pytest.approx(deviation * luminance, rel=0.35)


def test_pure_noise_is_measured_where_it_is_least() -> None:
    grey = np.random.default_rng(1).normal(128, 6, (200, 200))
    assert damages.noise([grey]) == pytest.approx(6, rel=0.25)


def test_texture_is_no_noise() -> None:
    rough = np.random.default_rng(1).normal(0, 40, (208, 208))
    smooth = np.mean([np.roll(rough, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)], axis=0)
    assert damages.noise([128 + smooth]) == 0.0


@pytest.mark.parametrize("deviation", [0.6, 1.0, 1.5])
def test_the_blur_of_a_step_is_its_deviation(deviation: float) -> None:
    """With what pixels and their differences are wide themselves."""
    place = np.linspace(-40, 40, 81 * 16) / deviation
    step = np.cumsum(np.exp(-(place**2) / 2)).reshape(81, 16).mean(1)
    rows = np.tile(200 * step / step[-1] + 20, (80, 1))
    assert damages.blur([rows]) == pytest.approx(np.hypot(deviation, 0.75), abs=0.05)


@pytest.mark.parametrize("name", photographs.NAMES)
def test_more_blur_is_more_blur_and_less_detail(name: str) -> None:
    found = [seen(blurred(clean(name), deviation)) for deviation in (0, 0.5, 0.8, 1.2)]
    assert found == sorted(found, key=lambda each: each.blur) == sorted(found, key=lambda each: each.falloff)
    assert found[-1].blur == pytest.approx(1.2, abs=0.25)


def test_a_spectrum_of_white_noise_does_not_fall() -> None:
    assert abs(damages.falloff([np.random.default_rng(1).normal(0, 6, (160, 160))])) < 0.5


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (16, 16), (40, 33)])
def test_what_is_too_small_or_flat_is_not_damaged(size: tuple[int, int]) -> None:
    for level in (0, 90, 255):
        assert damage(np.full((*size, 3), level, np.uint8)) == Damage(None, 0.0, 0.0, 0.0)


def test_of_a_large_image_windows_are_looked_at_on_one_grid() -> None:
    large = np.asarray(
        packed(Image.fromarray(np.tile(np.asarray(clean("coffee")), (8, 7, 1))), 60).crop((2, 5, 1702, 1505))
    )
    assert sum(part.size for part in damages._windows(large)) == 3 * (3 * 160) ** 2
    assert damage(large).quality == 60


def test_the_worse_of_two_compressions_counts() -> None:
    twice = packed(packed(clean("astronaut"), 50), 95)
    tables = {0: [1] * 64}
    assert damage(np.asarray(twice), tables).quality == 50
    assert damage(np.asarray(clean("astronaut")), tables).quality == 100

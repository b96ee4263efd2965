"""An unsharp mask has the response of its formula, and what is known of one can be taken back."""

import math

import pytest
import torch
from torch import Tensor

from srfoundry.core.seeds import generator
from srfoundry.degradation import sharpening
from srfoundry.degradation.sharpening import AMOUNTS, PLACES, RADII
from srfoundry.imaging import images


def photograph() -> Tensor:
    path = next(path for path in images.bundled() if path.stem == "coffee")
    return images.read(path)[..., 60:188, 100:260]


def certain(place: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(place), PLACES).double()


def test_the_response_to_a_wave_is_the_formula_s() -> None:
    frequency, radius, amount = 0.125, 0.9, 0.7
    wave = torch.cos(2 * math.pi * frequency * torch.arange(80.0)).expand(1, 40, 80)
    gain = 1 + amount * (1 - math.exp(-2 * (math.pi * radius * frequency) ** 2))
    made = sharpening.unsharp(wave, torch.tensor([radius]), torch.tensor([amount]))
    assert torch.allclose(made[..., 12:-12], gain * wave[..., 12:-12], atol=2e-3)


def test_a_mask_leaves_what_is_even() -> None:
    even = torch.full((2, 24, 24), 0.4)
    assert torch.allclose(sharpening.unsharp(even, torch.tensor([0.5, 2.0]), torch.tensor([2.0, 1.0])), even, atol=1e-6)
    assert torch.allclose(sharpening.undone(even[None, :1], certain(5)), even[None, :1], atol=1e-6)


def test_masks_are_drawn_from_the_bin_that_is_said() -> None:
    radius, amount, place = sharpening.drawn(500, 0.6, rng=generator(1, "masks"))
    assert set(place.tolist()) == set(range(PLACES))
    assert bool((amount[place == 0] == 0).all()) and float((place == 0).float().mean()) == pytest.approx(0.4, abs=0.07)
    across = len(AMOUNTS) - 1
    for bin_ in range(PLACES - 1):
        inside = place == bin_ + 1
        for value, limits, at in ((radius, RADII, bin_ // across), (amount, AMOUNTS, bin_ % across)):
            low, high = limits[at : at + 2]
            assert low * 0.999 <= float(value[inside].min()) and float(value[inside].max()) <= high * 1.001


@pytest.mark.parametrize("place", [3, 5, 9])
def test_a_mask_that_is_known_is_taken_back(place: int) -> None:
    image = photograph()
    row, column = divmod(place - 1, len(AMOUNTS) - 1)
    radius, amount = (math.sqrt(limits[at] * limits[at + 1]) for limits, at in ((RADII, row), (AMOUNTS, column)))
    masked = sharpening.unsharp(image[0], torch.full((3,), radius), torch.full((3,), amount))[None].clamp(0, 1)
    restored = sharpening.undone(masked, certain(place))
    assert float((restored - image).square().mean()) < 0.1 * float((masked - image).square().mean())


def test_nothing_is_done_where_nothing_was_and_less_where_it_is_in_doubt() -> None:
    image = photograph()
    assert torch.allclose(sharpening.undone(image, certain(0)), image, atol=1e-6)
    changes = [
        float((sharpening.undone(image, chance * certain(6) + (1 - chance) * certain(0)) - image).std())
        for chance in (0.1, 0.5, 1.0)
    ]
    assert changes[0] < changes[1] < changes[2]


def test_images_smaller_than_a_mask_are_taken_too() -> None:
    small = torch.rand(1, 3, 4, 2, generator=generator(2, "small"))
    assert sharpening.undone(small, certain(9)).shape == small.shape

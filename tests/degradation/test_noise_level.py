"""The noise of an image, from the image alone."""

import pytest
import torch

from srfoundry.core.seeds import generator
from srfoundry.degradation.kernels import gaussian
from srfoundry.degradation.noise_level import estimate_noise
from srfoundry.degradation.operator import degrade
from srfoundry.imaging.images import from_uint8, to_uint8
from tests.blind_cases import power_law

BLUR = gaussian(11, *(torch.tensor([value]) for value in (2.8, 2.8, 0.0))).float()


@pytest.mark.parametrize("level", [0.0, 2.0, 8.0])
def test_noise_is_known_from_the_image(level: float) -> None:
    rng = generator(1, "noise")
    low = degrade(power_law(192, 3), BLUR, 2)
    low = from_uint8(to_uint8(low + level / 255 * torch.randn(low.shape, generator=rng)))
    assert estimate_noise(low.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)) > 0.4 * level / 255  # grey files too
    assert 255 * estimate_noise(low) == pytest.approx(level, abs=0.12 * level + (0.3 if level else 1))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("level", [0.0, 2.0, 8.0])
def test_fine_texture_of_a_grey_image_is_no_noise(level: float, channels: int) -> None:
    rng = generator(2, "noise")
    texture = 20 / 255 * torch.randn(1, 1, 160, 160, generator=rng)
    texture[..., :50] = 0  # a sky
    grey = (
        0.5 + texture + 0.2 * torch.linspace(-1, 1, 160)[:, None] + level / 255 * torch.randn(160, 160, generator=rng)
    )
    seen = 255 * estimate_noise(from_uint8(to_uint8(grey)).expand(-1, channels, -1, -1))
    assert seen == pytest.approx(level, abs=0.12 * level + (0.3 if level else 1))


@pytest.mark.parametrize("level", [0.0, 2.0, 8.0])
def test_grain_is_in_the_luminance_alone(level: float) -> None:
    low = degrade(power_law(192, 3), BLUR, 2)
    grain = level / 255 * torch.randn(1, 1, *low.shape[-2:], generator=generator(4, "noise"))
    seen = 255 * estimate_noise(from_uint8(to_uint8(low + grain)))
    assert seen == pytest.approx(level, abs=0.12 * level + (0.3 if level else 1))


def test_what_was_clipped_says_nothing_of_noise() -> None:
    rng = generator(3, "noise")
    low = 0.5 + 5 / 255 * torch.randn(1, 1, 128, 128, generator=rng)
    low[..., :40] = 1.0  # blown out
    assert 255 * estimate_noise(from_uint8(to_uint8(low))) > 3


def test_noise_of_a_camera_grows_with_the_light() -> None:
    low = degrade(power_law(256, 3), BLUR, 2)
    grey = low.mean(dim=1, keepdim=True).clamp(0.1, 0.9)
    deviation = 6 / 255 * (2 * grey).sqrt()
    seen = estimate_noise(
        from_uint8(to_uint8(grey + deviation * torch.randn(grey.shape, generator=generator(5, "noise"))))
    )
    assert seen == pytest.approx(float(deviation.square().mean().sqrt()), rel=0.2)

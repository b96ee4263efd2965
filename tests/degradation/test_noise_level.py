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

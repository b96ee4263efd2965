"""An uncertain kernel's width moves towards the true one; a certain kernel, and what shows nothing, stays."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels
from srfoundry.degradation.kernel_width import move_width
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.degradation.operator import degrade
from srfoundry.imaging.images import from_uint8, to_uint8
from tests.blind_cases import power_law


def gauss(first: float, second: float, theta: float = 0.0, size: int = 15) -> Tensor:
    return kernels.gaussian(size, torch.tensor([first]), torch.tensor([second]), torch.tensor([theta])).float()


def variances(kernel: Tensor) -> tuple[float, float]:
    """Along the rows and along the columns, px^2."""
    axis = torch.arange(kernel.shape[-1]) - kernel.shape[-1] // 2
    return float((kernel[0].sum(dim=1) * axis**2).sum()), float((kernel[0].sum(dim=0) * axis**2).sum())


def seen(true: Tensor, given: Tensor, error: float = 0.25, noise: float = 0.0) -> Observation:
    low = degrade(power_law(256, 1), true, 2)
    low = low + noise * torch.randn(low.shape, generator=generator(5, "noise"))
    return Observation(from_uint8(to_uint8(low)), given, Sampling(2), noise, error)


@pytest.mark.parametrize("noise", [0.0, 1 / 255])
@pytest.mark.parametrize("wrong", [0.75, 1.25])
def test_a_width_that_is_wrong_by_a_quarter_comes_closer(wrong: float, noise: float) -> None:
    true, given = gauss(3.0, 1.5, 0.4), gauss(3.0 * wrong, 1.5 * wrong, 0.4)
    found = move_width(seen(true, given, noise=noise))
    assert found.observation.kernel is not None and found.observation.kernel_error == 0
    assert abs(math.log(found.factor * wrong)) < 0.75 * abs(math.log(wrong))
    before, after = variances(given), variances(found.observation.kernel)
    assert after[0] / before[0] == pytest.approx(found.factor, rel=0.03)  # the shape stays
    assert after[1] / before[1] == pytest.approx(found.factor, rel=0.03)
    assert float(found.observation.kernel.sum()) == pytest.approx(1)


def test_less_error_moves_less() -> None:
    true, given = gauss(2.0, 2.0), gauss(2.6, 2.6)
    steps = [abs(math.log(move_width(seen(true, given, error)).factor)) for error in (0.05, 0.15, 0.5)]
    assert 0 < steps[0] < steps[1] < steps[2]


def test_no_width_moves_farther_than_it_may_be_wrong() -> None:
    factor = move_width(seen(gauss(3.0, 3.0), gauss(1.6, 1.6), error=0.15)).factor
    assert math.log(factor) == pytest.approx(0.2)  # the spectrum asks for three times as much


def test_what_is_certain_or_cannot_be_seen_stays() -> None:
    true, given = gauss(2.0, 2.0), gauss(2.6, 2.6)
    observation = seen(true, given)
    line = kernels.line(15, torch.tensor([9.0]), torch.tensor([0.3])).float()
    flat = torch.full_like(observation.low, 0.5)
    for other in (
        replace(observation, kernel_error=0.0),
        replace(observation, kernel=None),
        replace(observation, kernel=line),
        replace(observation, sampling=Sampling(2, "bicubic")),
        replace(observation, low=observation.low[..., :20, :20]),
        replace(observation, low=flat),
    ):
        found = move_width(other)
        assert found.factor == 1 and found.observation.kernel is other.kernel
        assert found.observation.kernel_error == 0


def test_windows_of_an_image_say_what_it_says() -> None:
    observation = seen(gauss(2.0, 2.0), gauss(2.6, 2.6))
    windows = torch.cat([observation.low[..., :64, :64], observation.low[..., 64:, 64:]])
    assert move_width(replace(observation, low=windows)).factor < 0.95

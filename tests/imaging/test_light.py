"""sRGB's curve: known values, there and back, and a slope everywhere."""

import pytest
import torch

from srfoundry.imaging import light


def test_known_values_and_back() -> None:
    levels = torch.tensor([-0.1, 0.0, 0.04045, 0.5, 1.0, 1.2])
    found = light.to_light(levels)
    assert found[[1, 3, 4]].tolist() == pytest.approx([0.0, 0.21404, 1.0], abs=1e-4)
    assert light.from_light(found).allclose(levels, atol=1e-5)


def test_a_gradient_is_finite_everywhere() -> None:
    levels = torch.linspace(-0.1, 1.1, 13, requires_grad=True)
    light.from_light(light.to_light(levels)).sum().backward()
    assert levels.grad is not None and levels.grad.allclose(torch.ones(13), atol=1e-3)

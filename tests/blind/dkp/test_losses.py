"""The losses: what they are on equal, flat and spiked images, and the slope of the divergence."""

import pytest
import torch

from srfoundry.blind.dkp.losses import divergence, hyper_laplacian, mirrored_laplacian, ssim_loss
from tests.blind_cases import kernel, power_law


def test_losses() -> None:
    a, b = power_law(32, 1), power_law(32, 2)
    assert float(ssim_loss(a, a)) == pytest.approx(0, abs=1e-5)
    assert float(ssim_loss(a, b)) > 0.3
    assert float(hyper_laplacian(torch.ones(1, 3, 8, 8), 192)) < 1e-6 < float(hyper_laplacian(a, a.numel()))
    one, two = kernel(2.0, 2.0, 0.0), kernel(3.0, 1.0, 0.0)
    assert float(divergence(one, one)) == pytest.approx(0, abs=1e-6)
    assert float(divergence(one, two)) > 0.01


def test_divergence_pulls_each_tap_by_its_error() -> None:
    target, logits = kernel(2.0, 2.0, 0.0), torch.zeros(121, requires_grad=True)
    made = torch.softmax(logits, dim=0).view(1, 11, 11)
    (slope,) = torch.autograd.grad(divergence(target, made), logits)
    torch.testing.assert_close(slope, (made - target).detach().flatten(), rtol=1e-3, atol=1e-6)


def test_mirrored_prior_counts_the_border_too() -> None:
    image = power_law(16, 1)
    inside, whole = float(hyper_laplacian(image, image.numel())), float(mirrored_laplacian(image, image.numel()))
    assert inside < whole < 1.2 * inside
    flat = torch.full((1, 1, 6, 6), 0.3)
    spike = flat.clone()
    spike[0, 0, 3, 3] = 1.3
    gain = float(mirrored_laplacian(spike, 36) - mirrored_laplacian(flat, 36))
    assert gain == pytest.approx(2e-4 * 8 / 36, rel=1e-2)  # four differences to it and four from it, each of 1

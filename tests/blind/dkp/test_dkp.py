"""The DKP engine: it sees the low-resolution image alone, its prior acts, and a seed fixes its bytes."""

import dataclasses

import pytest
import torch

from srfoundry.blind.dkp import dkp
from srfoundry.blind.dkp.losses import divergence, hyper_laplacian, ssim_loss
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.degradation.kernels import gaussian
from srfoundry.degradation.operator import degrade
from srfoundry.imaging.metrics import kernel_psnr
from tests.blind.dkp.test_families import power_law

TINY = dkp.Settings(
    kernel_size=11,
    variances=[0.175, 2.5],
    iterations=4,
    draws=48,
    temperature=2.0,
    image_steps=1,
    kernel_steps=15,
    image_rate=5e-3,
    kernel_rate=2e-3,
    prior_strength=[10.0, 3.0],
    langevin=0.0,
    window=24,
    width=8,
    levels=2,
    noise=0.0,
    tile=32,
    keep=1.0,
    exponent=[2.5, 0.5],
    softness=0.0,
)


def kernel(first: float, second: float, angle: float) -> torch.Tensor:
    return gaussian(11, *(torch.tensor([value]) for value in (first, second, angle)))


def low(true: torch.Tensor) -> torch.Tensor:
    return degrade(power_law(144, 3), true, 2).clamp(0, 1)


def run(image: torch.Tensor, seed: int = 1, **changes: object) -> dkp.Estimate:
    settings = dataclasses.replace(TINY, **changes)
    return dkp.estimate(image, scale=2, settings=settings, rng=generator(seed, "dkp"))


def test_finds_the_kernel_from_the_low_resolution_image_alone() -> None:
    true = kernel(3.5, 1.0, 0.6)
    found = run(low(true), image_steps=0)
    guess = TINY.prior(2).mean().float()
    assert kernel_psnr(found.kernel, true) > kernel_psnr(guess, true) + 4
    assert float(found.kernel.min()) >= 0 and float(found.kernel.sum()) == pytest.approx(1, abs=1e-5)
    axis = torch.arange(11.0)
    for dim in (1, 2):
        assert float((found.kernel.sum(dim=dim)[0] * axis).sum()) == pytest.approx(5, abs=0.1)


def test_a_seed_fixes_the_bytes_and_leaves_the_global_generators_alone() -> None:
    image = low(kernel(2.0, 2.0, 0.0))
    before = torch.get_rng_state()
    first, again, other = (run(image, seed, langevin=0.001, iterations=2) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.kernel, again.kernel) and first.history == again.history
    assert first.restored is not None and again.restored is not None
    assert torch.equal(first.restored, again.restored)
    assert not torch.equal(first.kernel, other.kernel)
    assert first.restored.shape == (1, 3, 48, 48)


def test_every_row_is_logged() -> None:
    heard: list[int] = []
    settings = dataclasses.replace(TINY, iterations=2)
    image = low(kernel(2.0, 1.0, 0.0))
    found = dkp.estimate(
        image, scale=2, settings=settings, rng=generator(1, "log"), log=lambda step, _: heard.append(step)
    )
    assert heard == [1, 2] and [row["step"] for row in found.history] == [1.0, 2.0]
    assert {"draws", "temperature", "image", "data", "prior"} <= set(found.history[0])


def test_the_prior_term_moves_the_kernel_although_the_data_term_is_there() -> None:
    image = low(kernel(3.5, 1.0, 0.6))
    strong, none = (run(image, prior_strength=[strength] * 2) for strength in (10.0, 1e-9))
    assert strong.history[-1]["prior"] < 0.3 * none.history[-1]["prior"]


def test_the_data_term_moves_the_kernel_too() -> None:
    image = low(kernel(3.5, 1.0, 0.6))
    assert not torch.equal(run(image, prior_strength=[1.0, 1.0]).kernel, run(image, image_steps=0).kernel)


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


def test_busiest_window() -> None:
    image = torch.zeros(1, 3, 60, 80)
    image[..., 20:40:2, 48:64] = 1.0
    top, left, height, width = dkp.busiest(image, 24)
    assert (height, width) == (24, 24) and 16 <= top <= 20 and 40 <= left <= 48
    assert dkp.busiest(image[..., :10, :12], 24) == (0, 0, 10, 12)


def test_too_small_an_image_is_refused() -> None:
    with pytest.raises(FoundryError, match="5x5 at scale 2"):
        run(torch.rand(1, 3, 5, 5))

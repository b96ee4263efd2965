"""Diff-DKP: the observation alone teaches the kernel, at each evaluation; data steps are exact; borders stay clean."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from srfoundry.blind.diffusion import diffpir
from srfoundry.blind.diffusion.denoiser import Denoiser, deviations
from srfoundry.blind.diffusion.diff_dkp import estimate_kernel_by_diffusion
from srfoundry.blind.diffusion.settings import DiffusionSampler
from srfoundry.blind.dkp.families import GaussianPrior
from srfoundry.blind.estimate import Estimate
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.degradation.conventions import Border, centre_of_mass
from srfoundry.degradation.kernels import gaussian
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.degradation.operator import degrade
from srfoundry.imaging.images import from_uint8, to_uint8
from srfoundry.imaging.metrics import kernel_psnr, psnr_y
from tests.blind_cases import tiny

SIDE = 96  # high-resolution pixels
SIGNAL = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), dim=0)  # DDPM's
PERIODIC = Sampling(2, border="circular")
SAMPLER = DiffusionSampler(evaluations=12, start=1.0, guidance=1.0, renoise=0.3, floor=0.002, learn=0.75)
VALUES: dict[str, Any] = {
    "iterations": 6,
    "image_steps": 0,
    "kernel_steps": 8,
    "window": SIDE,
    "exponent": (2.5, 0.8),
}
ALPHA = 3.0  # power of the images |f|^-ALPHA


class Wiener(nn.Module):
    """E[x_0 | x_t], exactly, for periodic Gaussian images with the power |f|^-ALPHA."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.power = power(side)

    def forward(self, noisy: Tensor, steps: Tensor) -> SimpleNamespace:
        kept = SIGNAL[steps].view(-1, 1, 1, 1)
        gain = kept.sqrt() * self.power / (kept * self.power + 1 - kept)
        return SimpleNamespace(sample=torch.fft.ifft2(gain * torch.fft.fft2(noisy)).real)


def power(side: int) -> Tensor:
    axis = torch.fft.fftfreq(side)
    found = torch.hypot(axis[:, None], axis).clamp_min(1 / side) ** -ALPHA
    return found * 0.36**2 / found.mean()


def photograph(seed: int, side: int = SIDE) -> Tensor:
    noise = torch.randn(1, 3, side, side, generator=generator(seed, "image"))
    return 0.5 + 0.5 * torch.fft.ifft2(torch.fft.fft2(noise) * power(side).sqrt()).real


def denoiser(side: int = SIDE) -> Denoiser:
    return Denoiser(Wiener(side), SIGNAL, "sample", side)


def kernel(first: float = 3.5, second: float = 1.0, angle: float = 0.6) -> Tensor:
    return gaussian(11, *(torch.tensor([value]) for value in (first, second, angle)))


def low_of(high: Tensor, true: Tensor, border: Border = "circular") -> Tensor:
    return from_uint8(to_uint8(degrade(high, true, 2, border=border)))


def run(low: Tensor, seed: int = 1, sampler: DiffusionSampler = SAMPLER, **changes: object) -> Estimate:
    return estimate_kernel_by_diffusion(
        low,
        PERIODIC,
        tiny(**{**VALUES, **changes}),
        sampler=sampler,
        denoiser=denoiser(),
        rng=generator(seed, "diffusion"),
    )


def test_finds_kernel_and_image_from_the_low_resolution_image_alone() -> None:
    high, true = photograph(1), kernel()
    low = low_of(high, true)
    found, guess = run(low), GaussianPrior(11, 0.35, 5.0).mean().float()
    flat = torch.full((1, 11, 11), 1 / 121)
    assert kernel_psnr(found.kernel, true) > kernel_psnr(guess, true) + 8 > kernel_psnr(flat, true)
    assert float(found.kernel.min()) >= 0 and float(found.kernel.sum()) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(centre_of_mass(found.kernel), torch.full((1, 2), 5.0), atol=0.02, rtol=0)
    assert found.restored is not None
    known, wrong = (
        diffpir.restore_by_diffpir(Observation(low, each, PERIODIC), SAMPLER, denoiser(), rng=generator(1, "d"))
        for each in (true, guess)
    )
    best, worst, ours = (psnr_y(image, high.clamp(0, 1), 2) for image in (known, wrong, found.restored))
    assert best > worst + 0.3 and ours > best - 0.5


def test_the_data_term_reaches_the_kernels_weights_at_each_evaluation() -> None:
    """Even where gradients are switched off around it: the released program's kernel never learnt."""
    low = low_of(photograph(2), kernel())
    with torch.no_grad():
        rows = run(low).history
    assert [row["step"] for row in rows] == list(range(1, 10))
    assert all(row["slope"] > 0 for row in rows)
    weak, strong = (run(low, prior_strength=(strength, strength)).kernel for strength in (1e-9, 30.0))
    assert float((weak - strong).abs().max()) > 1e-3


def test_the_data_term_alone_moves_the_kernel() -> None:
    """A photograph shown as it is (a denoiser that knows it) makes the kernel right without any prior."""
    high, true = photograph(3), kernel()

    class Knows(nn.Module):
        def forward(self, noisy: Tensor, steps: Tensor) -> SimpleNamespace:
            return SimpleNamespace(sample=(2 * high - 1).expand_as(noisy))

    told = Denoiser(Knows(), SIGNAL, "sample", SIDE)
    settings = tiny(**{**VALUES, "prior_strength": (1e-9, 1e-9), "kernel_steps": 20})
    fixed = _Still(told.net, told.signal, told.target, told.tile)
    low = low_of(high.clamp(0, 1), true)
    found = estimate_kernel_by_diffusion(
        low, PERIODIC, settings, sampler=SAMPLER, denoiser=fixed, rng=generator(1, "x")
    )
    assert kernel_psnr(found.kernel, true) > kernel_psnr(GaussianPrior(11, 0.35, 5.0).mean().float(), true) + 5


class _Still(Denoiser):
    """Tiles that begin at the image's corner: what the net knows lies where it should."""

    def torus(self, noisy: Tensor, step: int, *, rng: torch.Generator, batch: int = 16) -> Tensor:
        return self.clean(noisy, step)


def test_a_seed_fixes_the_bytes_and_leaves_the_global_generators_alone() -> None:
    low = low_of(photograph(4), kernel(2.0, 2.0))
    short = replace(SAMPLER, evaluations=4)
    before = torch.get_rng_state()
    first, again, other = (run(low, seed, short) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.kernel, again.kernel) and first.history == again.history
    assert first.restored is not None and again.restored is not None and other.restored is not None
    assert torch.equal(first.restored, again.restored) and not torch.equal(first.restored, other.restored)


@pytest.mark.parametrize("scale", [2, 3])
def test_data_step_solves_its_equation(scale: int) -> None:
    """(A'A + alpha) x = A'y + alpha x_0, and x is so near to y as alpha allows."""
    low, guess = torch.rand(1, 3, 16, 20), torch.rand(1, 3, 16 * scale, 20 * scale)
    canvas = diffpir.Canvas(low, scale, 11, periodic=True)
    alphas = (1e-1, 1e-3, 1e-6)
    errors = [
        float(canvas.misfit(canvas.solve(guess, kernel(1.0, 1.0), alpha), kernel(1.0, 1.0)).abs().max())
        for alpha in alphas
    ]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-3
    image, alpha = guess.double().requires_grad_(), 1e-2
    misfit = degrade(image, kernel().double(), scale, border="circular") - low.double()
    solved = canvas.solve(guess, kernel(), alpha)
    image.data = solved.double()
    loss = (degrade(image, kernel().double(), scale, border="circular") - low.double()).square().sum()
    loss = loss + alpha * (image - guess.double()).square().sum()
    (slope,) = torch.autograd.grad(loss, image)
    assert misfit.abs().max() > 0.1 and float(slope.abs().max()) < 1e-5


def test_borders_of_a_photograph_that_is_not_periodic() -> None:
    """The gap closes the image smoothly: the band along the border is as good as the interior, within 1.5 dB."""
    high, true = photograph(5, 2 * SIDE)[..., :SIDE, :SIDE].clamp(0, 1), kernel()
    low = low_of(high, true, "reflect")
    side = 2 * diffpir.Canvas(low, 2, 11, periodic=False).whole.shape[-1]
    image = diffpir.restore_by_diffpir(
        Observation(low, true, Sampling(2)), SAMPLER, denoiser(side), rng=generator(1, "border")
    )
    assert image.shape == high.shape
    error = (image - high).square()
    inner = error[..., 12:-12, 12:-12]
    band = (error.sum() - inner.sum()) / (error.numel() - inner.numel())
    assert float(10 * torch.log10(band / inner.mean())) < 1.5


def test_odd_sizes_and_windows() -> None:
    low = torch.rand(1, 3, 31, 29)
    few = replace(SAMPLER, evaluations=2)
    small = Denoiser(Wiener(32), SIGNAL, "sample", 32)
    found = estimate_kernel_by_diffusion(
        low,
        Sampling(3),
        tiny(**{**VALUES, "window": 24, "kernel_size": 15, "draws": 8}),
        sampler=few,
        denoiser=small,
        rng=generator(1, "odd"),
    )
    assert found.box[2:] == (24, 24) and found.restored is not None and found.restored.shape == (1, 3, 72, 72)
    assert 0 <= float(found.restored.min()) and float(found.restored.max()) <= 1


def test_schedule_falls_from_start_to_almost_nothing() -> None:
    steps = diffpir.schedule(denoiser(), replace(SAMPLER, evaluations=30))
    levels = [float(deviations(SIGNAL)[step]) for step in steps]
    assert len(steps) >= 28 and steps == sorted(steps, reverse=True)
    assert levels[0] == pytest.approx(1.0, rel=0.02) and levels[-1] < 0.007


@pytest.mark.parametrize("evaluations", [1, 100, 200])
def test_the_kernel_is_held_at_the_end_though_it_learns_throughout(evaluations: int) -> None:
    """Many evaluations share steps of the model, so that there are fewer than asked for; the last holds the kernel."""
    sampler = replace(SAMPLER, evaluations=evaluations, learn=1.0)
    count = len(diffpir.schedule(denoiser(), sampler))
    found = estimate_kernel_by_diffusion(
        low_of(photograph(6, 32), kernel()),
        PERIODIC,
        tiny(**{**VALUES, "iterations": 1, "draws": 8, "kernel_steps": 1, "tile": 16}),
        sampler=sampler,
        denoiser=denoiser(32),
        rng=generator(1, "held"),
    )
    assert count < 200 and len(found.history) == max(1, count - 1)
    torch.testing.assert_close(centre_of_mass(found.kernel), torch.full((1, 2), 5.0), atol=0.02, rtol=0)


def test_large_images_are_restored_in_tiles() -> None:
    """As good as in one piece, also where tiles meet, with a sign of life at each evaluation."""
    high = photograph(7, 2 * SIDE)[..., :192, :96].clamp(0, 1)
    low, ticks = low_of(high, kernel(), "reflect"), []
    whole, parts = (
        diffpir.restore_by_diffpir(
            Observation(low, kernel(), Sampling(2)),
            SAMPLER,
            denoiser(64),
            rng=generator(1, "tiles"),
            tile=tile,
            progress=lambda done, total: ticks.append((done, total)),
        )
        for tile in (192, 64)
    )
    assert ticks == [*((done, 12) for done in range(1, 13)), *((done, 24) for done in range(1, 25))]
    error = [(image - high).square() for image in (whole, parts)]
    assert parts.shape == high.shape and not torch.equal(whole, parts)
    for rows in (slice(None), slice(80, 112)):  # all, and where both tiles have a say
        assert float(error[1][..., rows, :].mean()) < 1.2 * float(error[0][..., rows, :].mean())


def test_kernels_of_a_bank_have_their_own_size() -> None:
    bank = torch.cat([kernel(first, 1.0) for first in (1.0, 2.0, 3.0)])[:, 1:-1, 1:-1]
    found = estimate_kernel_by_diffusion(
        low_of(photograph(8, 24), kernel()),
        Sampling(2),
        tiny(**{**VALUES, "family": "bank", "kernel_size": 31, "draws": 8, "tile": 12, "iterations": 1}),
        sampler=replace(SAMPLER, evaluations=3),
        denoiser=denoiser(24),
        rng=generator(1, "bank"),
        bank=bank / bank.sum(dim=(1, 2), keepdim=True),
    )
    assert found.kernel.shape == (1, 9, 9) and found.restored is not None and found.restored.shape == (1, 3, 24, 24)


def test_what_it_cannot_do_is_refused() -> None:
    low, rng = torch.rand(1, 3, 24, 24), generator(1, "no")
    common = {"sampler": SAMPLER, "denoiser": denoiser(), "rng": rng}
    with pytest.raises(FoundryError, match="direct decimation"):
        estimate_kernel_by_diffusion(low, Sampling(2, decimation="bicubic"), tiny(**VALUES), **common)
    with pytest.raises(FoundryError, match="5x5 at scale 2"):
        estimate_kernel_by_diffusion(low[..., :5, :5], Sampling(2), tiny(**VALUES), **common)

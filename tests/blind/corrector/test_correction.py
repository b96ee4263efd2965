"""Kernels corrected by what a wrong one does to the restored image, and how close they come."""

from pathlib import Path

import pytest
import torch

from srfoundry.blind.corrector.correction import CorrectionSearch, estimate_kernel_by_corrections
from srfoundry.blind.dkp.families import GaussianPrior
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.degradation.observation import Sampling
from srfoundry.degradation.operator import degrade
from srfoundry.imaging.images import from_uint8, to_uint8
from srfoundry.imaging.metrics import kernel_psnr
from srfoundry.imaging.patches import Patches
from srfoundry.networks.nonblind.corrector import Corrector
from tests.blind_cases import power_law
from tests.closed import prepared
from tests.nonblind import collected_samples, data_steps, trained_corrector

SEARCH = CorrectionSearch(kernel_size=11, variances=(0.3, 2.5), passes=4, look=64)


def test_it_finds_kernels_of_images_that_it_never_saw(tmp_path: Path) -> None:
    true = GaussianPrior(11, 0.6, 5.0)
    shapes = true.sample(4, rng=generator(3, "true"))
    found = collected_samples(random_photographs(tmp_path), tmp_path, samples=800, patch=64)
    net = trained_corrector(found, tmp_path, steps=400).eval()
    gains = []
    for number, kernel in enumerate(true.kernels(shapes).float()):
        low = degrade(power_law(144, 50 + number), kernel[None], 2, border="circular")
        low = from_uint8(to_uint8(low.clamp(0, 1)))
        estimate = estimate_kernel_by_corrections(low, Sampling(2), SEARCH, restorer=data_steps(), corrector=net)
        guess = SEARCH.prior(2).mean().float()
        gains.append(kernel_psnr(estimate.kernel, kernel[None]) - kernel_psnr(guess, kernel[None]))
        assert float(estimate.kernel.min()) >= 0 and float(estimate.kernel.sum()) == pytest.approx(1, abs=1e-5)
        assert len(estimate.history) == SEARCH.passes
    assert sum(gains) / len(gains) > 5


def random_photographs(folder: Path) -> Patches:
    """Images with the spectrum of photographs."""
    return prepared(folder, {f"image{seed}": power_law(144, seed).clamp(0, 1) for seed in range(8)}, [1, 2])


def test_too_small_an_image_is_refused() -> None:
    with pytest.raises(FoundryError, match="too small"):
        low = torch.rand(1, 3, 6, 40, generator=generator(1, "low"))
        estimate_kernel_by_corrections(low, Sampling(2), SEARCH, restorer=data_steps(), corrector=Corrector())


@pytest.mark.parametrize(("correction", "asks"), [(2.0, True), (0.01, False)])
def test_a_corrector_that_is_never_content_is_not_followed(
    monkeypatch: pytest.MonkeyPatch, correction: float, asks: bool
) -> None:
    """On gratings it asked for as much again after each pass, and was sure of it."""
    sure = (torch.tensor([[correction, 0.0, 0.0]]), torch.full((1, 3), 6.0))
    monkeypatch.setattr("srfoundry.blind.corrector.correction.posterior", lambda *_: sure)
    low = power_law(64, 3).clamp(0, 1)
    found = estimate_kernel_by_corrections(
        low, Sampling(2), SEARCH, restorer=data_steps(), corrector=Corrector()
    ).kernel
    turned = float((found - found.mT).abs().max())
    assert (turned < 1e-6) == asks

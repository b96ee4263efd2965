"""Scores follow the papers' protocols and stored values."""

import math

import numpy as np
import pytest
import torch

from srfoundry.core.seeds import generator
from srfoundry.imaging import images, metrics, resize
from tests.conftest import golden, reference

PUBLISHED = {"baby": 32.0030, "bird": 30.2477, "butterfly": 22.6653, "head": 31.9076, "woman": 26.8247}


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=generator(0, *shape))


def test_psnr_of_a_known_pair() -> None:
    high = torch.full((1, 3, 20, 20), 100 / 255)
    restored = torch.full((1, 3, 20, 20), 110 / 255)
    step = 10 * (65.481 + 128.553 + 24.966) / 255
    assert metrics.psnr_y(restored, high, 2) == pytest.approx(20 * math.log10(255 / step), abs=1e-5)
    assert metrics.psnr_y(high, high, 2) == math.inf
    assert metrics.ssim_y(high, high, 2) == pytest.approx(1.0)


def test_bicubic_row_of_the_published_table() -> None:
    for name, published in PUBLISHED.items():
        low = images.read(golden(f"golden/mzsr_g20/{name}.png"))
        high = images.read(next(golden("test/Set5").glob(f"*{name}*")))[..., : low.shape[-2] * 2, : low.shape[-1] * 2]
        restored = resize.cubic(low, 2)
        assert metrics.psnr_y(restored, high, 2, whole=True) == pytest.approx(published, abs=1e-3)
        # not rounding Y to whole numbers, as is usual: a few hundredths of a dB
        assert metrics.psnr_y(restored, high, 2) == pytest.approx(published, abs=0.05)


def test_psnr_equals_the_reference() -> None:
    stored = reference("mzsr_metrics")
    a, b = (images.from_uint8(torch.from_numpy(stored[name])[None]) for name in ("a", "b"))
    for border in (2, 4):
        assert metrics.psnr_y(a, b, border, whole=True) == pytest.approx(float(stored[f"psnr_crop{border}"]), abs=1e-5)
    assert metrics.psnr_y(a, b, 2) == pytest.approx(float(stored["psnr_crop2_unroundedY"]), abs=1e-5)


def test_psnr_equals_drns() -> None:
    """Whose difference is taken before the weights of the colours, in 256ths: the same to 2e-6 dB."""
    stored = reference("drn_psnr")
    high, restored = (torch.from_numpy(stored[name]).float() / 255 for name in ("hr", "sr"))
    assert metrics.psnr_y(restored, high, 4) == pytest.approx(float(stored["bench4"]), abs=1e-5)


def test_luma_equals_the_reference() -> None:
    stored = reference("mzsr_metrics")
    pixels = torch.from_numpy(stored["a"])[None]
    rounded = images.matlab_luma(images.from_uint8(pixels).double()).round()
    assert np.array_equal(rounded[0, 0].numpy(), stored["ya"].astype(np.float64))
    b = images.from_uint8(torch.from_numpy(stored["b"])[None])
    expected = float(stored["psnr_crop2_unroundedY"])
    assert metrics.psnr_y(b, images.from_uint8(pixels), 2) == pytest.approx(expected, abs=1e-4)


def test_ssim_falls_with_noise_and_sizes_must_agree() -> None:
    high = noise(1, 3, 40, 40)
    assert metrics.ssim_y((high + 0.2 * noise(1, 3, 40, 41)[..., :40]).clamp(0, 1), high, 2) < 0.99
    with pytest.raises(ValueError, match="one size"):
        metrics.psnr_y(high, high[..., :38], 2)


def test_kernel_psnr_has_peak_one() -> None:
    kernel = torch.zeros(1, 3, 3)
    assert metrics.kernel_psnr(kernel + 0.1, kernel) == pytest.approx(20.0, abs=1e-5)
    with pytest.raises(ValueError, match="one size"):
        metrics.kernel_psnr(kernel, torch.zeros(1, 5, 5))


def test_gains_are_means_over_images_of_any_size() -> None:
    """Also where there is none."""
    highs = [noise(1, 3, 24, 28), noise(1, 3, 32, 20)]
    lows = [resize.cubic(high, 1 / 2) for high in highs]
    restored = [(high + 0.01).clamp(0, 1) for high in highs]
    found = metrics.gains(zip(restored, lows, highs, strict=True), 2)
    ours = [metrics.psnr_y(*pair, 2) for pair in zip(restored, highs, strict=True)]
    assert found["psnr_y"] == pytest.approx(sum(ours) / 2) and found["gain_db"] > 0
    assert found["gain_db"] == found["psnr_y"] - found["bicubic_psnr_y"]
    assert metrics.gains([], 2) == {"psnr_y": 0.0, "bicubic_psnr_y": 0.0, "gain_db": 0.0}

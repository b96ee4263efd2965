"""Half spectra of real images under a blur and a decimation."""

import pytest
import torch

from srfoundry.core.seeds import generator
from srfoundry.degradation.aliasing import fold, transfer, unfold
from srfoundry.degradation.operator import degrade

SIZES = [(1, 5, 6), (2, 6, 7), (2, 7, 6), (3, 4, 7), (3, 5, 6), (4, 3, 5)]


def image(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=generator(4, "image"), dtype=torch.float64)


@pytest.mark.parametrize("scale, height, width", SIZES)
def test_folding_is_decimation_and_unfolding_the_zeros_between(scale: int, height: int, width: int) -> None:
    high = image(1, 1, scale * height, scale * width)
    low = high[..., ::scale, ::scale]
    spread = torch.zeros_like(high)
    spread[..., ::scale, ::scale] = low
    assert torch.allclose(fold(torch.fft.rfft2(high), scale, width), torch.fft.rfft2(low))
    assert torch.allclose(unfold(torch.fft.rfft2(low), scale, width), torch.fft.rfft2(spread))


@pytest.mark.parametrize("size", [3, 9])
def test_transfer_is_the_periodic_correlation_of_degrade(size: int) -> None:
    """The larger kernel wraps around the image."""
    high, kernel = image(1, 1, 6, 7), image(1, size, size)
    product = torch.fft.rfft2(high) * transfer(kernel, (6, 7))[:, None]
    again = torch.fft.irfft2(product, s=(6, 7))
    turns = [high.roll((-down, -right), (-2, -1)) for down, right in _places(size)]
    assert torch.allclose(again, (torch.stack(turns) * kernel.reshape(-1, 1, 1, 1, 1)).sum(dim=0))
    if size < 6:
        assert torch.allclose(again, degrade(high, kernel, 1, border="circular"))


def _places(size: int) -> list[tuple[int, int]]:
    reach = range(-(size // 2), size // 2 + 1)
    return [(down, right) for down in reach for right in reach]

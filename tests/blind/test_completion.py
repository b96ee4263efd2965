"""Photographs completed so that they can be periodic ones."""

import pytest
import torch
from torch import Tensor

from srfoundry.blind.completion import complete_ends
from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels
from srfoundry.degradation.borders import join_ends
from srfoundry.degradation.operator import degrade

LINE = kernels.line(15, torch.tensor([11.0]), torch.tensor([0.4])).float()


def photograph(size: int, seed: int) -> Tensor:
    """A random image whose power falls as a photograph's."""
    rows, columns = torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)
    fall = (rows**2 + columns**2).clamp_min(1 / size**2) ** -0.8
    image = torch.fft.irfft2(torch.fft.rfft2(torch.randn(1, 3, size, size, generator=generator(seed))) * fall)
    return 0.5 + 0.15 * (image - image.mean()) / image.std()


def inverted(low: Tensor, kernel: Tensor, scale: int) -> Tensor:
    """A Wiener inverse of a periodic blur and decimation, by the aliases of each frequency."""
    height, width = (scale * extent for extent in low.shape[-2:])
    taps = torch.zeros(height, width)
    taps[: kernel.shape[-1], : kernel.shape[-1]] = kernel[0]
    response = torch.fft.fft2(taps.roll([-(kernel.shape[-1] // 2)] * 2, (0, 1))).conj()
    rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)
    prior = (rows**2 + columns**2).clamp_min(1 / height**2) ** -1.6
    seen = (response.abs() ** 2 * prior).view(scale, low.shape[-2], scale, low.shape[-1]).sum(dim=(0, 2)) / scale**2
    shares = torch.fft.fft2(low) / (seen + 1e-9 * seen.max())
    return torch.fft.ifft2(response.conj() * prior * shares.repeat(1, 1, scale, scale)).real


def test_an_inverse_of_the_blur_rings_less() -> None:
    scale, rim = 2, 40
    scene = photograph(320, 1)
    low = degrade(scene, LINE, scale, border="circular")[..., 20:-20, 20:-20]
    true = scene[..., rim:-rim, rim:-rim]
    errors = []
    for whole in (join_ends(low, [10, 10], fade="linear"), complete_ends(low, LINE, scale, noise=0.0)):
        made = inverted(whole, LINE, scale)[..., : true.shape[-2], : true.shape[-1]]
        errors.append(float((made - true).square().mean()))
    assert errors[1] < 0.2 * errors[0]


@pytest.mark.parametrize("size", [(40, 33), (5, 9), (1, 7)])
def test_what_was_seen_stays(size: tuple[int, int]) -> None:
    low = torch.rand(2, 3, *size, generator=generator(2))
    whole = complete_ends(low, torch.cat([LINE, LINE.mT]), 2, noise=0.01)
    assert torch.isfinite(whole).all()
    torch.testing.assert_close(whole[..., : size[0], : size[1]], low)
    torch.testing.assert_close(complete_ends(low[1:], LINE.mT, 2, noise=0.01), whole[1:], atol=2e-3, rtol=0)


def test_one_colour_stays_one_colour() -> None:
    low = torch.full((1, 3, 20, 20), 0.3)
    torch.testing.assert_close(complete_ends(low, LINE, 3, noise=0.0), torch.full((1, 3, 32, 32), 0.3))

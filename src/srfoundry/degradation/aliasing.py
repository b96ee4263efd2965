"""Spectra of real periodic images under a blur and a decimation.

All are half spectra, as `torch.fft.rfft2` gives them: the other half says nothing new.
"""

import functools

import torch
from jaxtyping import Complex, Float
from torch import Tensor


def transfer(kernel: Float[Tensor, "n k k"], size: tuple[int, int]) -> Complex[Tensor, "n H w2"]:
    """Transfer function of a periodic correlation with `kernel`, odd, about its middle tap.

    A kernel larger than the image wraps around it.

    Args:
        kernel: one or more.
        size: H, W of the image.
    """
    middle = kernel.shape[-1] // 2
    rows, columns = (torch.arange(kernel.shape[-1], device=kernel.device).sub(middle).neg() % extent for extent in size)
    flat = kernel.new_zeros(len(kernel), size[0] * size[1])
    place = (rows[:, None] * size[1] + columns).flatten()
    return torch.fft.rfft2(flat.index_add(1, place, kernel.flatten(1)).view(-1, *size))


def fold(spectrum: Tensor, scale: int, width: int) -> Tensor:
    """Mean over the s x s aliases: what keeping every s-th pixel does to a spectrum.

    Args:
        spectrum: its columns from 0 to half of its width; of a power or another real image, too.
        scale: of the decimation.
        width: of the decimated image.
    """
    rows, half = functools.reduce(torch.add, spectrum.chunk(scale, dim=-2)), width // 2
    total = rows[..., : half + 1]
    for start in range(width, scale * width, width):
        if 2 * start < scale * width:
            total = total + rows[..., start : start + half + 1]
        else:  # these columns lie in the other half
            last = scale * width - start
            total = total + _turned(rows[..., last - half : last + 1]).flip(-1)
    return total / scale**2


def unfold(spectrum: Tensor, scale: int, width: int) -> Tensor:
    """The same at each alias: what zeros between the pixels do to a spectrum.

    Args:
        spectrum: of the decimated image.
        scale: of the decimation.
        width: of the decimated image.
    """
    whole = torch.cat([spectrum, _turned(spectrum[..., 1 : (width + 1) // 2]).flip(-1)], dim=-1)
    return whole.tile(scale, scale // 2 + 1)[..., : scale * width // 2 + 1]


def _turned(spectrum: Tensor) -> Tensor:
    """Of a real image, at the opposite frequencies: conjugate, rows in the opposite order, columns in their places."""
    flipped = spectrum.roll(-1, -2).flip(-2)
    return flipped.conj() if flipped.is_complex() else flipped

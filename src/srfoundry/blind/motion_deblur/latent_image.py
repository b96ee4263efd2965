"""The latent image of few edges: what a blurred photograph may have been, sharp enough to find a kernel from it.

    min over x of |(x * k) down_s - y|^2 + lambda |grad x|_0        (Xu, Zheng and Jia 2013; Pan et al. 2014)

by half-quadratic splitting. Every quadratic is solved exactly under the s-fold aliasing, as USRNet's data step is
(eq. 7), but with a weight for each frequency, since it is gradients that are split off.
"""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn import functional

from srfoundry.networks.nonblind.usrnet import transfer

CALM = 1e-4  # weight of the image as it was, of the splitting's: it settles the mean


def latent(
    low: Float[Tensor, "1 1 h w"],
    kernel: Float[Tensor, "1 k k"],
    *,
    scale: int,
    edges: float,
    stiffest: float = 1e3,
    growth: float = 2.0,
) -> Float[Tensor, "1 1 H W"]:
    """The image of few edges that the kernel turns into `low`, periodic (Xu, Zheng and Jia 2013).

    Splits off g = grad x, in turns with a weight beta that grows by `growth`: g keeps the gradients of square
    lambda / beta or more, and x minimises |(x * k) down_s - y|^2 + beta |grad x - g|^2.
    """
    width = low.shape[-1]
    size = (scale * low.shape[-2], scale * width)
    columns = size[1] // 2 + 1  # of half a spectrum: the images are real
    gain = transfer(kernel, size)[:, None, :, :columns]
    spread = low.new_zeros(1, 1, *size)
    spread[..., ::scale, ::scale] = low
    adjoint = gain.conj().resolve_conj()
    back, power = adjoint * torch.fft.rfft2(spread), gain.abs().square()
    down, right = (_slope(extent, low.device) for extent in size)
    slopes = [down[:, None], right[:columns]]
    stiffness = slopes[0].abs().square() + slopes[1].abs().square() + CALM
    slopes = [slope.conj().resolve_conj() for slope in slopes]
    image = functional.interpolate(low, scale_factor=scale, mode="bicubic") if scale > 1 else low
    spectrum = torch.fft.rfft2(image)
    beta = 2 * edges
    while beta < stiffest:
        steps = [image.roll(-1, axis) - image for axis in (-2, -1)]
        kept = steps[0].square() + steps[1].square() >= edges / beta
        wanted = CALM * spectrum
        for slope, step in zip(slopes, steps, strict=True):
            wanted = wanted + slope * torch.fft.rfft2(step * kept)
        wanted, weight = back + beta * wanted, beta * stiffness
        folded = fold(gain * wanted / weight, scale, width) / (1 + fold(power / weight, scale, width))
        spectrum = (wanted - adjoint * unfold(folded, scale, width)) / weight
        image = torch.fft.irfft2(spectrum, s=size)
        beta *= growth
    return image


def _slope(extent: int, device: torch.device) -> Complex[Tensor, " n"]:
    """Transfer function of the difference to the next pixel."""
    return torch.exp(2j * math.pi * torch.fft.fftfreq(extent, device=device)) - 1


def fold(spectrum: Tensor, scale: int, width: int) -> Tensor:
    """Mean over the s x s aliases: what keeping every s-th pixel does to half the spectrum of a real image.

    Args:
        spectrum: its columns from 0 to half of its width.
        scale: of the decimation.
        width: of the decimated image.
    """
    rows = spectrum.unflatten(-2, (scale, -1)).mean(dim=-3)
    other, half = _turned(rows), width // 2
    total = rows[..., : half + 1]
    for start in range(width, scale * width, width):
        if 2 * start < scale * width:
            total = total + rows[..., start : start + half + 1]
        else:  # these columns lie in the other half
            last = scale * width - start
            total = total + other[..., last - half : last + 1].flip(-1)
    return total / scale


def unfold(spectrum: Tensor, scale: int, width: int) -> Tensor:
    """The same at each alias: what zeros between the pixels do to half the spectrum of a real image."""
    whole = torch.cat([spectrum, _turned(spectrum)[..., 1 : (width + 1) // 2].flip(-1)], dim=-1)
    return whole.tile(scale, scale // 2 + 1)[..., : scale * width // 2 + 1]


def _turned(spectrum: Tensor) -> Tensor:
    """Of a real image, at the opposite frequencies: conjugate, rows in the opposite order, columns in their places."""
    flipped = spectrum.roll(-1, -2).flip(-2)
    return flipped.conj() if flipped.is_complex() else flipped

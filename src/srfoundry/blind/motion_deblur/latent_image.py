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
    height, width = (scale * extent for extent in low.shape[-2:])
    gain = transfer(kernel, (height, width))[:, None]
    spread = low.new_zeros(1, 1, height, width)
    spread[..., ::scale, ::scale] = low
    back = gain.conj() * torch.fft.fft2(spread)
    power = gain.abs().square()
    slopes = [_slope(extent, low.device) for extent in (height, width)]
    slopes = [slopes[0][:, None], slopes[1]]
    stiffness = slopes[0].abs().square() + slopes[1].abs().square() + CALM
    image = functional.interpolate(low, scale_factor=scale, mode="bicubic") if scale > 1 else low
    beta = 2 * edges
    while beta < stiffest:
        steps = [image.roll(-1, axis) - image for axis in (-2, -1)]
        kept = steps[0].square() + steps[1].square() >= edges / beta
        right = CALM * torch.fft.fft2(image)
        for slope, step in zip(slopes, steps, strict=True):
            right = right + slope.conj() * torch.fft.fft2(step * kept)
        right, weight = back + beta * right, beta * stiffness
        folded = _fold(gain * right / weight, scale) / (1 + _fold(power / weight, scale))
        image = torch.fft.ifft2((right - gain.conj() * folded.tile(1, 1, scale, scale)) / weight).real
        beta *= growth
    return image


def _slope(extent: int, device: torch.device) -> Complex[Tensor, " n"]:
    """Transfer function of the difference to the next pixel."""
    return torch.exp(2j * math.pi * torch.fft.fftfreq(extent, device=device)) - 1


def _fold(spectrum: Tensor, scale: int) -> Tensor:
    """Mean over the s x s aliases: what keeping every s-th pixel does to a spectrum."""
    height, width = (extent // scale for extent in spectrum.shape[-2:])
    return spectrum.unflatten(-1, (scale, width)).unflatten(-3, (scale, height)).mean(dim=(-4, -2))

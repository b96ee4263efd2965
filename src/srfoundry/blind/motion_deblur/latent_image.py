"""The latent image of few edges: what a blurred photograph may have been, sharp enough to find a kernel from it.

    min over x of |(x * k) down_s - y|^2 + lambda |grad x|_0        (Xu, Zheng and Jia 2013; Pan et al. 2014)

by half-quadratic splitting. Every quadratic is solved exactly under the s-fold aliasing, as USRNet's data step is
(eq. 7), but with a weight for each frequency, since it is gradients that are split off.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.degradation.aliasing import fold, transfer, unfold

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
    gain = transfer(kernel, size)[:, None]
    spread = low.new_zeros(1, 1, *size)
    spread[..., ::scale, ::scale] = low
    back = gain.conj() * torch.fft.rfft2(spread)
    down, right = (_steepness(extent, low.device) for extent in size)
    # What does not change with beta: each step takes a few passes over a spectrum, and two transforms.
    stiffness = down[:, None] + right[: gain.shape[-1]] + CALM
    soft = 1 / stiffness
    seen = gain * soft
    unseen, power = seen.conj().resolve_conj(), fold(gain.abs().square() * soft, scale, width)
    image = functional.interpolate(low, scale_factor=scale, mode="bicubic") if scale > 1 else low
    beta = 2 * edges
    while beta < stiffest:
        steps = [image.roll(-1, axis) - image for axis in (-2, -1)]
        kept = (steps[0].square() + steps[1].square() >= edges / beta).to(image)
        wanted = CALM * image
        for axis, step in zip((-2, -1), steps, strict=True):
            step *= kept
            wanted += step.roll(1, axis) - step
        whole = torch.fft.rfft2(wanted).add_(back, alpha=1 / beta)
        folded = fold(seen * whole, scale, width) / (beta + power)
        image = torch.fft.irfft2(soft * whole - unseen * unfold(folded, scale, width), s=size)
        beta *= growth
    return image


def _steepness(extent: int, device: torch.device) -> Float[Tensor, " n"]:
    """Squared gain of the difference to the next pixel."""
    return 4 * (math.pi * torch.fft.fftfreq(extent, device=device)).sin().square()

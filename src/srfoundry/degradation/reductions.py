"""Reductions as kernels: whatever made an image small is one kernel, of which every s-th value was kept.

An antialiased reduction averages around the centre of each s x s block, (s - 1) / 2 pixels from the pixel that a direct
decimation keeps. That shift lies inside of the taps, so that one operator (`degradation.operator`, direct) and one
restorer serve all of them; a blur before the reduction is convolved with it.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.degradation import kernels
from srfoundry.imaging import resize

REACH = {"area": 0.5, "bicubic": 2.0, "lanczos": 3.0}  # low-resolution pixels that each looks to a side


def antialiasing(how: str, scale: int) -> Float[Tensor, "1 k k"]:
    """The kernel of an antialiased reduction under direct decimation.

    Args:
        how: `area` (means of blocks), `bicubic` (MATLAB's, a = -0.5) or `lanczos` (of three lobes).
        scale: of the reduction.
    """
    half = math.ceil(REACH[how] * scale + (scale - 1) / 2)
    away = (torch.arange(-half, half + 1, dtype=torch.float64) - (scale - 1) / 2) / scale
    if how == "area":
        line = (away.abs() < 0.5).double()
    elif how == "bicubic":
        line = resize.keys(away)
    else:
        line = torch.where(away.abs() < 3, torch.sinc(away) * torch.sinc(away / 3), 0.0)
    line = line / line.sum()
    return torch.outer(line, line)[None].float()


def combined(blur: Float[Tensor, "n k k"], how: str, scale: int) -> Float[Tensor, "n q q"]:
    """A blur and the antialiased reduction after it, as one kernel."""
    reduction = antialiasing(how, scale).to(blur)
    side = blur.shape[-1] + reduction.shape[-1] - 1
    both = torch.fft.rfft2(blur, (side, side)) * torch.fft.rfft2(reduction, (side, side))
    return kernels.normalise(torch.fft.irfft2(both, (side, side)))


def sized(kernel: Float[Tensor, "n k k"], size: int) -> Float[Tensor, "n q q"]:
    """The kernel with `size` taps a side, odd: set into zeros, or cut and made to sum to one again."""
    room = (size - kernel.shape[-1]) // 2
    return kernels.normalise(torch.nn.functional.pad(kernel, [room] * 4))

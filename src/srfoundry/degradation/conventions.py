"""Whose kernel is it? The flips, centres, borders and roundings behind the field's test sets, and exact conversion.

Every program keeps the pixels 0, s, 2s, ... of a filtered image. They differ in whether the filter is a correlation or
a convolution, in where a kernel's centre of mass is put (and so in where a low-resolution pixel looks), at the borders,
and where s does not divide the size. Mixing them up shifts images by (s - 1) / 2 or s - 1 high-resolution pixels and
costs several dB. All this is of `direct` decimation: bicubic has a grid of its own and wants centred kernels.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.core.errors import FoundryError

Border = Literal["reflect", "replicate", "circular"]
Name = Literal["mzsr", "dkp", "usrnet", "kernelgan"]


@dataclass(frozen=True)
class Convention:
    """How one family of programs degrades.

    Attributes:
        flipped: convolution (the kernel is flipped) instead of correlation.
        border: what lies outside of the image; `reflect` mirrors including the edge pixel.
        turn: low-resolution pixel i looks at the high-resolution coordinate s i + turn (s - 1) / 2, where 1 is the grid
            of MATLAB's bicubic.
        truncates: 8-bit files were made by dropping the fraction instead of rounding.
        spread: where s does not divide the size, ceil(size / s) pixels are kept, unevenly (ZSSR); else every s-th is.
    """

    flipped: bool
    border: Border
    turn: int
    truncates: bool = False
    spread: bool = True

    def phase(self, scale: int) -> float:
        """High-resolution pixels from the first kept pixel to where it looks."""
        return self.turn * (scale - 1) / 2

    def centre(self, size: int, scale: int) -> float:
        """Row and column, counted from 0, of the centre of mass of this convention's kernels of `size` taps a side."""
        return size // 2 + (-self.phase(scale) if self.flipped else self.phase(scale))


CONVENTIONS: dict[str, Convention] = {
    "mzsr": Convention(flipped=False, border="reflect", turn=0),  # ZSSR's sampling, kernels centred
    "dkp": Convention(
        flipped=False, border="circular", turn=-1, truncates=True, spread=False
    ),  # FKP, DKP, MLMC: (K - s) / 2
    "usrnet": Convention(
        flipped=True, border="circular", turn=0, spread=False
    ),  # KAIR: scipy's convolve with wrapped borders
    "kernelgan": Convention(flipped=False, border="reflect", turn=1),  # KernelGAN, DIV2KRK: aligned with bicubic
}


def get(name: str) -> Convention:
    """Look a convention up.

    Raises:
        FoundryError: there is none of that name.
    """
    if name not in CONVENTIONS:
        raise FoundryError(f"convention {name!r} is unknown; choose one of {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def correlation(kernel: Float[Tensor, "*n k k"], convention: Name) -> Float[Tensor, "*n j j"]:
    """Return the same filter as a correlation of odd size about its middle tap (an even one gains a row of zeros).

    Even sizes have their origin at tap k // 2, as in scipy.
    """
    before, after = (0, 1) if kernel.shape[-1] % 2 == 0 else (0, 0)
    if get(convention).flipped:
        kernel, before, after = kernel.flip(-2, -1), after, before
    return torch.nn.functional.pad(kernel, (before, after, before, after)) if before + after else kernel


def convert(
    kernel: Float[Tensor, "*n k k"], source: Name, target: Name, scale: int, *, keep: Literal["image", "blur"] = "image"
) -> Float[Tensor, "*n j j"]:
    """Turn a kernel of one convention into one of another; the result has odd size.

    Args:
        keep: `image`, the default: degrading under `target` gives the very image that degrading under `source` gave
            (except at the borders, if these differ); exact, since taps are only flipped. `blur`: the same blur where
            `target` expects its centre, so that the low-resolution image moves onto the grid of `target` (see `move`).

    Raises:
        FoundryError: a convention is unknown.
    """
    first, second = get(source), get(target)
    filter_ = correlation(kernel, source)
    if keep == "blur":
        way = second.phase(scale) - first.phase(scale)
        filter_ = move(filter_, torch.full((*filter_.shape[:-2], 2), way, dtype=filter_.dtype, device=filter_.device))
    return filter_.flip(-2, -1) if second.flipped else filter_


def centre_of_mass(kernel: Float[Tensor, "*n k k"]) -> Float[Tensor, "*n 2"]:
    """Row and column of the centre of mass, counted from 0."""
    axis = torch.arange(kernel.shape[-1], dtype=kernel.dtype, device=kernel.device)
    total = kernel.sum(dim=(-2, -1))
    return (
        torch.stack([(kernel.sum(dim=-1) * axis).sum(-1), (kernel.sum(dim=-2) * axis).sum(-1)], -1) / total[..., None]
    )


def move(kernel: Float[Tensor, "*n k k"], way: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n j j"]:
    """Shift kernels by a way in pixels (down, right), fractions too, by a phase in the Fourier domain.

    Exact for whole pixels, and for kernels as smooth as a Gaussian of variance 1. Sharper ones (lines, trajectories)
    ring when they are moved by a fraction, and get negative taps: draw those where they are wanted (kernels' `offset`).
    The size, odd as is usual, grows by twice the way on each side.
    """
    room = 2 * math.ceil(float(way.abs().max())) if way.numel() else 0  # each side: the way, and as much for ringing
    if room == 0:
        return kernel
    padded = torch.nn.functional.pad(kernel.double(), (room, room, room, room))
    rows = torch.fft.fftfreq(padded.shape[-2], dtype=torch.float64, device=kernel.device)
    columns = torch.fft.rfftfreq(padded.shape[-1], dtype=torch.float64, device=kernel.device)
    turns = way[..., 0, None, None] * rows[:, None] + way[..., 1, None, None] * columns
    turned = torch.fft.rfft2(padded) * torch.exp(-2j * math.pi * turns)
    return torch.fft.irfft2(turned, s=padded.shape[-2:]).to(kernel.dtype)

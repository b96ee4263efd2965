"""The random kernels of DKP's published program, and their weights, quirks included (see `released`)."""

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.degradation import conventions

if TYPE_CHECKING:
    import numpy as np


def size_of(scale: int) -> int:
    """Taps a side of the program's kernels: 11, 15, 19, 21 at x2, x3, x4, x8."""
    return min(4 * scale + 3, 21)


def centre_of(scale: int, convention: conventions.Name = "dkp") -> float:
    """Row and column of the prior's centre of mass: (K - s) / 2, but 13.5 instead of 6.5 at x8."""
    return 1.5 * (scale + 1) if convention == "dkp" else conventions.get(convention).centre(size_of(scale), scale)


def variances_of(scale: int) -> tuple[float, float]:
    """Least and largest variance of the prior in square pixels: 1.35 to 13 at x2, 3.7 to 20 at x4."""
    return 0.175 * scale + 3 + (scale - 4), min(2.5 * scale, 10) + 10 + (scale - 4)


def random_kernel(
    scale: int, stream: "np.random.RandomState", convention: conventions.Name = "dkp"
) -> Float[Tensor, "k k"]:
    """Draw one of the program's random Gaussians."""
    size, (low, high) = size_of(scale), variances_of(scale)
    first = low + stream.rand() * (high - low)
    second = low + stream.rand() * (high - low)
    angle = stream.rand() * math.pi
    stream.rand(size, size)  # noise of level 0 on the taps
    return moved_gaussian(scale, first, second, angle, centre_of(scale, convention))


def moved_gaussian(
    scale: int, first: float, second: float, angle: float, centre: float | None = None
) -> Float[Tensor, "k k"]:
    """A Gaussian of these variances, drawn (s - 1) / 2 pixels right of and below the middle and moved to `centre`.

    The move is a cubic spline's with zeros outside: a wide kernel loses its right and lower rim.
    """
    import numpy as np
    from scipy import ndimage

    size = size_of(scale)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    inverse = np.linalg.inv(turn @ np.diag([first, second]) @ turn.T)
    axis = np.arange(size) - (size // 2 + 0.5 * (scale - size % 2))
    place = np.stack(np.meshgrid(axis, axis), axis=-1)
    drawn = np.exp(-0.5 * np.einsum("rci,ij,rcj->rc", place, inverse, place))
    wanted = (size - scale) / 2 if centre is None else centre
    now = np.array(ndimage.center_of_mass(drawn), dtype=float)
    moved = ndimage.shift(drawn, wanted - now)
    return torch.from_numpy(moved / moved.sum()).float()


def released_weights(error: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """w = -(1 - p)^2 ln(p + 1e-3) with p the share of the excess error: DKP's published program; not normalised."""
    excess = error - error.min()
    share = excess / (1e-5 + excess.sum())
    return -((1 - share) ** 2) * (share + 1e-3).log()

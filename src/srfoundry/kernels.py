"""Blur kernels: where they come from and what makes one valid.

Convention: odd size, centred on the middle tap, applied as a correlation (MZSR); each sums to 1.
"""

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.errors import FoundryError

TOLERANCE = 1e-4  # of the sum: float32 kernels of 31 x 31 taps stay far below


def gaussian(
    size: int, variance1: Float[Tensor, " n"], variance2: Float[Tensor, " n"], theta: Float[Tensor, " n"]
) -> Float[Tensor, "n k k"]:
    """Gaussian kernels k(p) ~ exp(-p' S^-1 p / 2), S = R(theta) diag(variance1, variance2) R(theta)' (MZSR eq. 3).

    Args:
        size: taps a side; an even size is centred between its two middle taps.
        variance1, variance2: eigenvalues of S in square pixels (variances, not deviations).
        theta: angle of the first axis in radians, from the column axis.
    """
    axis = torch.arange(size, dtype=variance1.dtype, device=variance1.device) - (size - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    cos, sin = theta.cos().view(-1, 1, 1), theta.sin().view(-1, 1, 1)
    along = x * cos + y * sin
    across = -x * sin + y * cos
    exponent = -0.5 * (along**2 / variance1.view(-1, 1, 1) + across**2 / variance2.view(-1, 1, 1))
    return normalise(exponent.exp())


def sample(
    count: int, *, size: int, low: float, high: float, rng: torch.Generator
) -> tuple[Float[Tensor, "n k k"], Float[Tensor, "n 3"]]:
    """Draw kernels as MZSR does: theta ~ U[0, pi), l1 ~ U[low, high], l2 ~ U[low, l1].

    Returns:
        The kernels (float32) and their (theta, l1, l2), in radians and square pixels.
    """
    draws = torch.rand(count, 3, generator=rng, device=rng.device, dtype=torch.float64)
    theta = draws[:, 0] * math.pi
    first = low + draws[:, 1] * (high - low)
    second = low + draws[:, 2] * (first - low)
    return gaussian(size, first, second, theta).float(), torch.stack([theta, first, second], dim=1)


def normalise(kernel: Float[Tensor, "*n k k"]) -> Float[Tensor, "*n k k"]:
    """Scale each kernel to sum to 1."""
    return kernel / kernel.sum(dim=(-2, -1), keepdim=True)


def check(kernel: Float[Tensor, "*n k1 k2"], name: str = "kernel") -> None:
    """Refuse what is no blur kernel.

    Raises:
        FoundryError: not square, of even size, not finite, or not summing to 1.
    """
    rows, columns = kernel.shape[-2:]
    if rows != columns or rows % 2 == 0:
        raise FoundryError(f"{name} must be square and of odd size, got {rows}x{columns}; pad it with zeros")
    if not bool(torch.isfinite(kernel).all()):
        raise FoundryError(f"{name} holds NaN or infinity; make it again")
    sums = kernel.double().sum(dim=(-2, -1))
    worst = float(sums.flatten()[(sums - 1).abs().flatten().argmax()])
    if abs(worst - 1) > TOLERANCE:
        raise FoundryError(f"{name} must sum to 1, got {worst:.4g}; divide it by its sum (kernels.normalise)")


def read(path: Path) -> Float[Tensor, "1 k k"]:
    """Read one kernel from a .npy file, or from the entry `kernel` (or the only one) of a .npz file.

    Raises:
        FoundryError: the file is missing, damaged, needs unpickling, or holds no valid kernel.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded:
                name = "kernel" if "kernel" in loaded.files or len(loaded.files) != 1 else loaded.files[0]
                loaded = loaded[name]
        kernel = torch.from_numpy(np.asarray(loaded, dtype=np.float32).squeeze())
    except FileNotFoundError:
        raise FoundryError(f"{path} not found; check the path of the kernel") from None
    except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
        raise FoundryError(f"{path} is no kernel that can be read ({error}); save one array with numpy.save") from None
    if kernel.ndim != 2:
        raise FoundryError(f"{path} must hold one kernel of two dimensions, got shape {tuple(kernel.shape)}; save one")
    check(kernel, str(path))
    return kernel.unsqueeze(0)

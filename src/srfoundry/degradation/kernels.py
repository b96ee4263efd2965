"""Blur kernels: the families that they are drawn from, and what makes one valid.

A family's function takes how many kernels to draw, their taps a side, the scale that widths and lengths grow with, the
generator, and `offset`; it returns the kernels and their parameters. By name: kernel_families.py.

Every kernel here sums to 1, has no negative tap, and is centred on its middle tap, or `offset` pixels from it (down and
right) where another program has its centre (conventions.py). All families are drawn in one batch, on the generator's
device.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.core.errors import FoundryError
from srfoundry.degradation import conventions

TOLERANCE = 1e-4  # of the sum: float32 kernels of 31 x 31 taps stay far below
WIDEST = 2.5  # largest variance of a Gaussian, in multiples of the scale (MZSR, FKP)
NARROWEST = 0.175  # the least, in DIV2KRK's recipe (MZSR: 1 px^2)
SHAKE = 128  # points of a trajectory
FINE = 8  # points a tap and side that discs are made of

Draw = tuple[Float[Tensor, "n k k"], dict[str, Float[Tensor, " n"]]]


def gaussian(
    size: int,
    variance1: Float[Tensor, " n"],
    variance2: Float[Tensor, " n"],
    theta: Float[Tensor, " n"],
    *,
    offset: float = 0.0,
) -> Float[Tensor, "n k k"]:
    """Gaussian kernels k(p) ~ exp(-p' S^-1 p / 2), S = R(theta) diag(variance1, variance2) R(theta)' (MZSR eq. 3).

    Args:
        size: taps a side; an even size is centred between its two middle taps.
        variance1: an eigenvalue of S in square pixels (a variance, no deviation).
        variance2: the other.
        theta: angle of the first axis in radians, from the column axis.
        offset: pixels from the middle to the centre, down and to the right.
    """
    axis = torch.arange(size, dtype=variance1.dtype, device=variance1.device) - (size - 1) / 2 - offset
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    cos, sin = theta.cos().view(-1, 1, 1), theta.sin().view(-1, 1, 1)
    along = x * cos + y * sin
    across = -x * sin + y * cos
    exponent = -0.5 * (along**2 / variance1.view(-1, 1, 1) + across**2 / variance2.view(-1, 1, 1))
    return normalise(exponent.exp())


def gaussian_at(
    size: int,
    draws: Float[Tensor, "n 3"],
    variances: Sequence[float],
    *,
    scale: int | float = 1,
    offset: float = 0.0,
) -> Float[Tensor, "n k k"]:
    """Gaussian kernels of uniform draws: the place of both variances in their range, and of the angle in [0, pi).

    Args:
        size: taps a side.
        draws: in [0, 1).
        variances: least and largest, in multiples of the scale.
        scale: that variances grow with.
        offset: pixels from the middle to the centre, down and to the right.
    """
    low, high = variances
    first, second = ((low + draws[:, axis] * (high - low)) * scale for axis in (0, 1))
    return gaussian(size, first, second, draws[:, 2] * math.pi, offset=offset)


def line(
    size: int, length: Float[Tensor, " n"], theta: Float[Tensor, " n"], *, offset: float = 0.0
) -> Float[Tensor, "n k k"]:
    """Uniform linear motion.

    Args:
        size: taps a side.
        length: of the way, in pixels.
        theta: its angle in radians, from the column axis.
        offset: pixels from the middle to the centre, down and to the right.
    """
    along = (torch.arange(8 * size, dtype=length.dtype, device=length.device) + 0.5) / (8 * size) - 0.5
    way = along * length[:, None]
    return splat(size, torch.stack([way * theta.sin()[:, None], way * theta.cos()[:, None]], dim=-1) + offset)


def disc(size: int, radius: Float[Tensor, " n"], *, fine: int = FINE) -> Float[Tensor, "n k k"]:
    """Defocus: discs, in float32.

    Args:
        size: taps a side.
        radius: in pixels.
        fine: points a tap and side that are counted.
    """
    axis = (torch.arange(fine * size, device=radius.device) + 0.5) / fine - size / 2
    inside = axis[:, None].square() + axis.square() <= radius.square().float().view(-1, 1, 1)
    return normalise(functional.avg_pool2d(inside.float(), fine))


def splat(size: int, path: Float[Tensor, "n t 2"]) -> Float[Tensor, "n k k"]:
    """Expose a moving point, equally long at each place of its path (rows, columns in pixels from the middle).

    Bilinear weights keep the centre of mass exactly; what leaves the kernel is clamped to its rim.
    """
    place = (path + (size - 1) / 2).clamp(0, size - 1 - 1e-6)
    corner = place.floor()
    part = place - corner
    first = (corner[..., 0] * size + corner[..., 1]).long()
    kernel = path.new_zeros(len(path), size * size)
    for down in (0, 1):
        for right in (0, 1):
            row = part[..., 0] if down else 1 - part[..., 0]
            column = part[..., 1] if right else 1 - part[..., 1]
            kernel.scatter_add_(1, first + down * size + right, row * column)
    return normalise(kernel.view(-1, size, size))


def draw_gaussian(count: int, *, size: int, scale: int | float, rng: torch.Generator, offset: float = 0.0) -> Draw:
    """Gaussians of MZSR's distribution: variances of 1 to 2.5 s square pixels."""
    drawn = _mzsr(count, 1.0, WIDEST * scale, rng)
    kernel = gaussian(size, drawn[:, 1], drawn[:, 2], drawn[:, 0], offset=offset).float()
    return kernel, dict(zip(("theta", "variance1", "variance2"), drawn.T, strict=True))


def draw_noisy(
    count: int, *, size: int, scale: int, rng: torch.Generator, offset: float = 0.0, level: float = 0.4
) -> Draw:
    """DIV2KRK's kernels (KernelGAN): Gaussians with each tap multiplied by 1 + U(-level, level), centred again.

    Variances ~ U[0.175 s, 2.5 s] independently, theta ~ U[0, pi). The level is the release's; the paper allows 0.5.
    """
    draws = _uniform(rng, count, 3)
    first, second = ((NARROWEST + draws[:, axis] * (WIDEST - NARROWEST)) * scale for axis in (0, 1))
    theta = draws[:, 2] * math.pi
    noise = 1 + level * (2 * _uniform(rng, count, size, size) - 1)
    kernel = centred(gaussian(size, first, second, theta, offset=offset) * noise, offset)
    return kernel.float(), {"theta": theta, "variance1": first, "variance2": second}


def draw_line(count: int, *, size: int, scale: int, rng: torch.Generator, offset: float = 0.0) -> Draw:
    """Linear motion: length ~ U[s, 0.8 k] pixels, theta ~ U[0, pi)."""
    draws = _uniform(rng, count, 2)
    length, theta = scale + draws[:, 0] * max(0.8 * size - scale, 0.0), draws[:, 1] * math.pi
    return line(size, length, theta, offset=offset).float(), {"length": length, "theta": theta}


def draw_trajectory(count: int, *, size: int, scale: int, rng: torch.Generator, offset: float = 0.0) -> Draw:
    """Camera shake: a random trajectory with inertia, a pull to the middle and sudden turns (Boracchi and Foi 2012).

    The path is `length` ~ U[2 s, 2 k] pixels long, or as long as fits into the kernel.
    """
    device = rng.device
    draws = _uniform(rng, count, 3)
    length, shake = 2 * scale + draws[:, 0] * max(2 * size - 2 * scale, 0), draws[:, 1]
    pushes = torch.randn(SHAKE, count, 2, generator=rng, device=device, dtype=torch.float64)
    turns = _uniform(rng, SHAKE, count, 2)
    angle = 2 * math.pi * draws[:, 2]
    speed = torch.stack([angle.sin(), angle.cos()], dim=-1)
    place = torch.zeros(count, 2, dtype=torch.float64, device=device)
    places = []
    for step in range(SHAKE):
        sudden = (turns[step, :, 0] < 0.04 * shake)[:, None]  # a jerk back, with some twist
        twist = math.pi * (0.5 + turns[step, :, 1])
        back = torch.stack(
            [
                speed[:, 0] * twist.cos() - speed[:, 1] * twist.sin(),
                speed[:, 0] * twist.sin() + speed[:, 1] * twist.cos(),
            ],
            dim=-1,
        )
        drift = speed + 0.35 * shake[:, None] * pushes[step] - 0.006 * place
        speed = functional.normalize(torch.where(sudden, back, drift), dim=-1)
        place = place + speed
        places.append(place)
    path = torch.stack(places, dim=1) * (length / SHAKE)[:, None, None]
    path = path - path.mean(dim=1, keepdim=True)
    reach = path.abs().amax(dim=(1, 2))
    fit = (((size - 1) / 2 - abs(offset)) / reach).clamp(max=1.0)
    return splat(size, path * fit[:, None, None] + offset).float(), {"length": length * fit, "shake": shake}


def with_motion(
    drawn: Float[Tensor, "n k k"],
    place: Float[Tensor, " n"],
    *,
    lines: float,
    scale: int,
    rng: torch.Generator,
    offset: float = 0.0,
) -> Float[Tensor, "n k k"]:
    """Put straight lines and camera shakes, drawn one by one, where kernels have their place in [0, 1). In place.

    Args:
        drawn: kernels of other blurs, which stay where the place is 1 or more.
        place: of each kernel.
        lines: places below it are lines; the others shakes.
        scale: that lengths grow with.
        rng: on the CPU.
        offset: pixels from the middle to the centre, down and to the right.
    """
    for index, at in enumerate(place.tolist()):
        if at < 1:
            family = draw_line if at < lines else draw_trajectory
            drawn[index] = family(1, size=drawn.shape[-1], scale=scale, rng=rng, offset=offset)[0][0]
    return drawn


def centred(kernel: Float[Tensor, "*n k k"], offset: float = 0.0) -> Float[Tensor, "*n k k"]:
    """Move each kernel's centre of mass to `offset` pixels from the middle; the size stays, the sum is 1.

    Negative ringing is cut, which moves small kernels by a few hundredths of a pixel again.
    """
    size = kernel.shape[-1]
    moved = conventions.move(kernel, (size - 1) / 2 + offset - conventions.centre_of_mass(kernel))
    rim = (moved.shape[-1] - size) // 2
    return normalise(moved[..., rim : rim + size, rim : rim + size].clamp(min=0))


def covariance(kernel: Float[Tensor, "k k"], centre: Sequence[Tensor | float]) -> Float[Tensor, "2 2"]:
    """Second moments of a kernel, px^2, rows first.

    Args:
        kernel: float64.
        centre: row and column that they are taken around.
    """
    axis = torch.arange(len(kernel), dtype=torch.float64)
    down, across = axis - centre[0], axis - centre[1]
    mixed = (kernel * down[:, None] * across).sum()
    rows, columns = (kernel.sum(dim=1) * down**2).sum(), (kernel.sum(dim=0) * across**2).sum()
    return torch.stack([rows, mixed, mixed, columns]).view(2, 2)


def normalise(kernel: Float[Tensor, "*n k k"]) -> Float[Tensor, "*n k k"]:
    """Scale each kernel to sum to 1."""
    return kernel / kernel.sum(dim=(-2, -1), keepdim=True)


def check(kernel: Float[Tensor, "*n k1 k2"], name: str = "kernel") -> None:
    """Refuse what is no blur kernel; negative taps pass, which a kernel has that was moved by part of a pixel.

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


def _mzsr(count: int, low: float, high: float, rng: torch.Generator) -> Float[Tensor, "n 3"]:
    draws = _uniform(rng, count, 3)
    first = low + draws[:, 1] * (high - low)
    return torch.stack([draws[:, 0] * math.pi, first, low + draws[:, 2] * (first - low)], dim=1)


def _uniform(rng: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=rng, device=rng.device, dtype=torch.float64)

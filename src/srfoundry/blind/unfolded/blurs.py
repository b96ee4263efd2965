"""Blurs of many forms, which unfolded estimation learns: motion, defocus, Gaussians, their mixtures, antialiasing."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.degradation import kernels

SHARES = {  # of the blurs that are drawn
    "line": 0.22,
    "shake": 0.32,
    "disc": 0.10,
    "gaussian": 0.16,
    "noisy": 0.03,
    "slight": 0.04,
    "antialiased": 0.06,
    "double": 0.07,
}
LONGEST = 22.0  # of straight motion, px
RADII = (0.8, 5.0)  # of discs, px
VARIANCES = (0.1, 3.0)  # of Gaussians, in multiples of the scale, px^2
THICK = 0.8  # largest variance of the blur across motion, px^2


def draw_blurs(
    count: int, size: int, scale: int, *, shares: Mapping[str, float] = SHARES, rng: torch.Generator
) -> Float[Tensor, "n k k"]:
    """Random kernels, centred, in random order.

    Args:
        count: how many.
        size: taps a side, odd.
        scale: that widths grow with.
        shares: of the kinds, or some of them.
        rng: on the CPU.
    """
    every = {
        "line": _thickened(_lines(count, size, scale, rng), rng),
        "shake": _thickened(_shakes(count, size, scale, rng), rng),
        "disc": kernels.disc(size, RADII[0] + torch.rand(count, generator=rng) * (RADII[1] - RADII[0])),
        "gaussian": _gaussians(count, size, [scale * value for value in VARIANCES], rng),
        "noisy": kernels.draw_noisy(count, size=size, scale=scale, rng=rng)[0],
        "slight": _gaussians(count, size, [0.02, 0.3], rng),
        "antialiased": _antialiased(count, size, scale, rng),
    }
    motion = torch.rand(count, 1, 1, generator=rng) < 0.5
    every["double"] = _joined(torch.where(motion, every["line"], every["disc"]), every["gaussian"])
    parts = torch.tensor(list(shares.values()))
    chosen = torch.multinomial(parts, count, replacement=True, generator=rng)
    drawn = torch.stack([every[name] for name in shares])[chosen, torch.arange(count)]
    return kernels.normalise(drawn.clamp_min(0))


def _lines(count: int, size: int, scale: int, rng: torch.Generator) -> Tensor:
    draws = torch.rand(count, 2, generator=rng)
    longest = min(LONGEST, 0.9 * size)
    return kernels.line(size, scale + draws[:, 0] * (longest - scale), draws[:, 1] * math.pi)


def _shakes(count: int, size: int, scale: int, rng: torch.Generator) -> Tensor:
    """Camera shake that fits into kernels of several sizes."""
    least = min(4 * scale + 5, size)
    inner = least + 2 * int(torch.randint((size - least) // 2 + 1, (), generator=rng))
    drawn = kernels.draw_trajectory(count, size=inner, scale=scale, rng=rng)[0]
    return functional.pad(drawn, [(size - inner) // 2] * 4)


def _gaussians(count: int, size: int, variances: list[float], rng: torch.Generator) -> Tensor:
    return kernels.gaussian_at(size, torch.rand(count, 3, generator=rng), variances)


def _antialiased(count: int, size: int, scale: int, rng: torch.Generator) -> Tensor:
    """What area and bicubic reduction do, alone or behind a Gaussian; centred, without the shift of half a pixel."""
    axis = (torch.arange(kernels.FINE * size) + 0.5) / kernels.FINE - size / 2
    area = (axis.abs() < scale / 2).float()
    away = axis.abs() / scale
    near = (1.5 * away - 2.5) * away.square() + 1  # Keys's cubic, a = -0.5
    far = ((-0.5 * away + 2.5) * away - 4) * away + 2
    cubic = torch.where(away < 1, near, torch.where(away < 2, far, torch.zeros_like(away)))
    profiles = [functional.avg_pool1d(each[None], kernels.FINE)[0] for each in (area, cubic)]
    squares = torch.stack([kernels.normalise(profile[:, None] * profile) for profile in profiles])
    drawn = squares[torch.randint(2, (count,), generator=rng)]
    behind = torch.rand(count, 1, 1, generator=rng) < 0.5
    return torch.where(behind, _joined(drawn, _gaussians(count, size, [0.1, 1.5 * scale], rng)), drawn)


def _thickened(drawn: Float[Tensor, "n k k"], rng: torch.Generator) -> Tensor:
    """Half of the kernels with a slight blur."""
    draws = torch.rand(len(drawn), 2, generator=rng)
    variance = THICK * draws[:, 1] + 0.05
    slight = kernels.gaussian(7, variance, variance, torch.zeros(len(drawn)))
    return torch.where((draws[:, 0] < 0.5).view(-1, 1, 1), _joined(drawn, slight), drawn)


def _joined(first: Float[Tensor, "n k k"], second: Float[Tensor, "n j j"]) -> Tensor:
    """One blur after the other, cut to the first's size."""
    both = functional.conv2d(first[None], second[:, None], padding=second.shape[-1] // 2, groups=len(first))[0]
    return kernels.normalise(both)

"""Blind test sets as the field makes them: every photograph degraded in a way of its own, all that was drawn kept.

Both lie on the grid of MATLAB's bicubic, in 8 bits. What is drawn stands here and not in params.yaml, where training
has its ranges: a test set stays what it is when these are tried out.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.degradation import kernels, operator
from srfoundry.imaging import images, resize

FIRST_BLUR, SECOND_BLUR, BLURRED_TWICE = (0.2, 2.0), (0.2, 1.2), 0.5  # deviations, px; share (Real-ESRGAN: 3, 1.5, 0.8)
BETWEEN = (0.5, 1.2)  # factors of the resizing between the rounds (Real-ESRGAN, at x4: 0.15 to 1.5)
NOISY, NOISE = 0.5, (1.0, 20.0)  # share of the rounds; deviation, of 255 (Real-ESRGAN: all, 1 to 30)
GREY, POISSON = 0.4, 0.4  # shares of the noise (Real-ESRGAN: 0.4, 0.5)
PACKED, QUALITY = (
    0.5,
    (30, 95),
)  # share of the rounds that end as JPEG, and its quality (BSRGAN: 0.75; Real-ESRGAN: all)


@dataclass(frozen=True)
class Sample:
    """A low-resolution image, and what made it.

    Args:
        low: in 8 bits, range [0, 1], in the photograph's precision.
        facts: all that was drawn, as plain JSON.
        kernel: for direct decimation onto the grid of MATLAB's bicubic, where that alone made the image.
    """

    low: Float[Tensor, "1 3 h w"]
    facts: dict[str, Any]
    kernel: Float[Tensor, "k k"] | None = None


def div2krk(high: Float[Tensor, "1 3 H W"], scale: int, *, rng: torch.Generator) -> Sample:
    """An anisotropic Gaussian with every tap multiplied by noise, then direct decimation (KernelGAN, sec. 5.1).

    Args:
        high: range [0, 1], its sides multiples of the scale.
        scale: of the reduction; kernels have 11 taps a side at 2 and 31 at 4, as DIV2KRK's.
        rng: of the kernel.
    """
    blur, drawn = kernels.draw_noisy(1, size=10 * scale - 9, scale=scale, rng=rng, offset=(scale - 1) / 2)
    facts = {name: round(float(value), 6) for name, value in drawn.items()}
    return Sample(_bits(operator.degrade(high, blur, scale)), facts, blur[0])


def photographs(high: Float[Tensor, "1 3 H W"], scale: int, *, rng: torch.Generator) -> Sample:
    """Two rounds of blur, resizing, noise and JPEG (Real-ESRGAN, sec. 3.2), milder ones than at x4.

    `degradation.random_degradation.twice` does as much to batches for training. The two stay apart: another order of
    draws, or another filter, would be another test set.

    Args:
        high: range [0, 1], its sides multiples of the scale.
        scale: of both rounds together.
        rng: of all that is drawn.
    """
    height, width = high.shape[-2:]
    last = (height // scale, width // scale)
    blur = _between(FIRST_BLUR, rng)
    factor = math.exp(_between((math.log(BETWEEN[0]), math.log(BETWEEN[1])), rng))
    middle = (max(round(height * factor), last[0]), max(round(width * factor), last[1]))
    filter_ = list(FILTERS)[int(_between((0, len(FILTERS)), rng))]
    once, first = _damaged(FILTERS[filter_](_soft(high, blur), middle), rng)
    facts: dict[str, Any] = {"first": {"blur": round(blur, 4), "size": list(middle), "filter": filter_, **first}}
    again = _between(SECOND_BLUR, rng) if _chance(BLURRED_TWICE, rng) else 0.0
    low, second = _damaged(_cubic(_soft(once, again), last), rng)
    facts["second"] = {"blur": round(again, 4), "size": list(last), "filter": "bicubic", **second}
    return Sample(_bits(low), facts)


def _damaged(image: Tensor, rng: torch.Generator) -> tuple[Tensor, dict[str, Any]]:
    """The end of a round: noise for a share, JPEG for a share; and what was drawn."""
    quality = round(_between(QUALITY, rng)) if _chance(PACKED, rng) else 0
    noise = _between(NOISE, rng) if _chance(NOISY, rng) else 0.0
    grey, poisson = _chance(GREY, rng), _chance(POISSON, rng)
    if noise:
        channels = 1 if grey else 3
        drawn = torch.randn(1, channels, *image.shape[-2:], generator=rng, dtype=torch.float64).to(image)
        light = image.clamp(0, 1).sqrt() if poisson else 1.0  # a normal of Poisson's variance, the level that of white
        image = image + noise / 255 * light * drawn
    facts: dict[str, Any] = {"noise": round(noise, 4)}
    facts |= {"grey": grey, "poisson": poisson} if noise else {}
    return images.jpeg(image, quality) if quality else _bits(image), {**facts, "jpeg": quality}


def _soft(image: Tensor, deviation: float) -> Tensor:
    if not deviation:
        return image
    variance = torch.tensor([deviation**2], dtype=torch.float64)
    return operator.degrade(
        image, kernels.gaussian(2 * math.ceil(3 * deviation) + 1, variance, variance, 0 * variance), 1
    )


def _cubic(image: Tensor, size: tuple[int, int]) -> Tensor:
    return resize.cubic(image, (size[0] / image.shape[-2], size[1] / image.shape[-1]), size)


def _bilinear(image: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)


def _area(image: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(image, size, mode="area")


FILTERS: Mapping[str, Callable[[Tensor, tuple[int, int]], Tensor]] = {
    "bilinear": _bilinear,
    "bicubic": _cubic,
    "area": _area,
}
SETS: Mapping[str, Callable[..., Sample]] = {"div2krk": div2krk, "photographs": photographs}


def _between(ends: tuple[float | int, float | int], rng: torch.Generator) -> float:
    return ends[0] + (ends[1] - ends[0]) * float(torch.rand((), generator=rng, dtype=torch.float64))


def _chance(share: float, rng: torch.Generator) -> bool:
    return _between((0.0, 1.0), rng) < share


def _bits(image: Tensor) -> Tensor:
    return images.from_uint8(images.to_uint8(image), image.dtype)

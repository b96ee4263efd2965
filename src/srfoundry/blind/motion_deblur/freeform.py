"""Kernels of any form from one low-resolution image: sharp edges are few, so the right kernel is what explains them.

Alternating minimisation, coarse to fine (Cho and Lee 2009; Xu, Zheng and Jia 2013; Pan et al. 2014). With a kernel, the
latent image is the one of fewest edges (latent.py); with an image, the kernel is a least-squares problem on the simplex
(taps.py). The pyramid climbs on the low-resolution grid first, where a blur has 1/s of the taps, and goes on at the
high resolution. A non-blind network, if there is one, takes the edges' place in the last rounds, and the sharpness of
its images judges between several beginnings.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.blind.motion_deblur import taps
from srfoundry.blind.motion_deblur.latent_image import latent
from srfoundry.core.errors import FoundryError
from srfoundry.degradation import kernels
from srfoundry.imaging import resize

Log = Callable[[int, Mapping[str, float]], None]
# low, kernel, scale, noise -> image: USRNet or what else restores periodic images
Restore = Callable[[Tensor, Tensor, int, float], Tensor]

SMALLEST = 5  # taps a side at the coarsest level, about
STEP = math.sqrt(0.5)  # from a level to the next coarser


@dataclass(frozen=True)
class Settings:
    """How to look for a kernel.

    Attributes:
        edges: lambda at the coarsest level, range [0, 1] squared; each is a beginning of its own.
        fade: what lambda is divided by after each round, down to `faintest` or, at the high resolution, `least`.
        rounds: alternations at each level of the low-resolution pyramid, at the high resolution, and with the network.
        ridge, smooth: of the kernel, on the low-resolution grid (`taps.solve`).
        smooths: of the kernel at the high resolution, from the first round to the last of these, in equal parts.
        polish: the same in the network's rounds.
        faint: taps below this part of the largest are dropped, but for the network's rounds, which keep `thin` ones.
    """

    edges: tuple[float, ...] = (4e-3, 1.5e-2)
    fade: float = 1.1
    faintest: float = 1e-4
    least: float = 2e-3
    rounds: tuple[int, int, int] = (5, 10, 2)
    ridge: float = 3e-3
    smooth: float = 0.03
    smooths: tuple[float, ...] = (0.1, 0.03)
    polish: float = 0.01
    faint: float = 0.05
    minor: float = 0.05
    thin: float = 0.02


def estimate(
    low: Float[Tensor, "1 c h w"],
    *,
    scale: int,
    size: int,
    noise: float,
    rng: torch.Generator,
    border: Literal["circular", "reflect"] = "circular",
    start: Float[Tensor, "1 j j"] | None = None,
    restore: Restore | None = None,
    settings: Settings | None = None,
    log: Log = lambda step, values: None,
) -> Float[Tensor, "1 k k"]:
    """Find the kernel that an image was blurred with, before every `scale`-th of its pixels was kept.

    Args:
        size: taps a side of the result, odd; the blur should fit in.
        noise: standard deviation of the noise of `low`, range [0, 1]; it is what `restore` is told, and raises lambda.
        rng: draws the directions of the first guesses.
        border: what the blur saw outside; `reflect` stands for all that is unknown: the rim is not heard.
        start: one more guess, at the high resolution, of any odd size.
        restore: a non-blind network for periodic images. Without it the last rounds are left out, and the latent
            images of the L0 solver are judged.
        log: hears, for each beginning, its figure: the normalised sparsity |grad x|_1 / |grad x|_2 (Krishnan 2011),
            which is the least for the sharpest image, while a wrong kernel rings and a narrow one leaves blur.

    Raises:
        FoundryError: an even size, or an image too small for it.
    """
    settings = settings or Settings()
    if size < 3 or size % 2 == 0:
        raise FoundryError(f"size must be odd and 3 or more, got {size}; the kernel needs a middle tap")
    room = -(-size // scale)  # pixels at each border that are not heard, of a photograph: something must be left
    least = max(16, 2 * size // scale if border == "circular" else 3 * room + 1)
    if min(low.shape[-2:]) < least:
        got = f"{low.shape[-2]}x{low.shape[-1]}"
        raise FoundryError(
            f"image of {got} is too small for a kernel of {size} taps at scale {scale}; "
            f"give {least} pixels a side or more, or fewer taps"
        )
    with torch.inference_mode():
        seen, heard = (low.float(), None) if border == "circular" else _periodic(low.float(), room)
        grey = seen.mean(dim=1, keepdim=True)
        best, figure = None, math.inf
        guesses: list[tuple[Tensor, float]] = []
        for edges in settings.edges:
            guesses.append(
                _climb(grey, heard, scale=scale, size=size, edges=edges, noise=noise, rng=rng, ways=settings)
            )
        if start is not None:
            guesses.append((taps.resampled(start.float(), size, 1.0), settings.least))
        for index, (kernel, edges) in enumerate(guesses):
            kernel, image = _refine(grey, heard, kernel, scale=scale, edges=edges, noise=noise, ways=settings)
            if restore is not None:
                kernel, image = _polish(seen, heard, kernel, restore, scale=scale, noise=noise, ways=settings)
            now = _sparsity(image, heard, scale)
            log(index, {"sparsity": now})
            if best is None or now < figure:
                best, figure = kernel, now
    assert best is not None
    for _ in range(3):  # what ringing and rim are cut off moves a sharp kernel again
        best = kernels.centred(best)
    return best.clone()


def _climb(
    low: Float[Tensor, "1 1 h w"],
    heard: Tensor | None,
    *,
    scale: int,
    size: int,
    edges: float,
    noise: float,
    rng: torch.Generator,
    ways: Settings,
) -> tuple[Float[Tensor, "1 k k"], float]:
    """From coarse to fine on the low-resolution grid; the kernel it ends with, at the high resolution, and lambda."""
    whole = _odd(size / scale + 1) if scale > 1 else size
    levels = max(0, math.floor(math.log(SMALLEST / whole) / math.log(STEP))) + 1
    angle = float(torch.rand((), generator=rng, device=rng.device)) * math.pi
    kernel = kernels.line(3, torch.tensor([1.5]), torch.tensor([angle])).to(low)
    for level in range(levels, -1, -1):
        taken = _odd(whole * STEP**level + 0.5)
        view = resize.cubic(low, STEP**level) if level else low
        window = heard if heard is None or not level else resize.cubic(heard, STEP**level).clamp(0, 1)
        kernel = taps.resampled(kernel, taken, 1.0 if level == levels else 1 / STEP)
        for _ in range(ways.rounds[0]):
            image = latent(view, kernel, scale=1, edges=edges)
            normal = taps.equations(image, view, scale=1, size=taken, heard=window)
            kernel = taps.solve(normal, ridge=ways.ridge, smooth=ways.smooth)
            kernel = taps.settled(taps.pruned(kernel, faint=ways.faint, minor=ways.minor))
            edges = max(edges / ways.fade, ways.faintest, noise**2)
    return (taps.resampled(kernel, size, float(scale)) if scale > 1 else kernel), max(edges, ways.least)


def _refine(
    low: Float[Tensor, "1 1 h w"],
    heard: Tensor | None,
    kernel: Float[Tensor, "1 k k"],
    *,
    scale: int,
    edges: float,
    noise: float,
    ways: Settings,
) -> tuple[Float[Tensor, "1 k k"], Float[Tensor, "1 1 H W"]]:
    """The same alternation at the high resolution."""
    count = ways.rounds[1] if scale > 1 else 1
    image = latent(low, kernel, scale=scale, edges=edges)
    for index in range(count):
        smooth = ways.smooths[index * len(ways.smooths) // count] if scale > 1 else ways.smooth
        normal = taps.equations(image, low, scale=scale, size=kernel.shape[-1], heard=heard)
        kernel = taps.solve(normal, ridge=ways.ridge, smooth=smooth)
        kernel = taps.settled(taps.pruned(kernel, faint=ways.faint, minor=ways.minor))
        edges = max(edges / ways.fade, ways.faintest, noise**2)
        image = latent(low, kernel, scale=scale, edges=edges)
    return kernel, image


def _polish(
    low: Float[Tensor, "1 c h w"],
    heard: Tensor | None,
    kernel: Float[Tensor, "1 k k"],
    restore: Restore,
    *,
    scale: int,
    noise: float,
    ways: Settings,
) -> tuple[Float[Tensor, "1 k k"], Float[Tensor, "1 c H W"]]:
    """The same alternation with the network's images, in colour; the kernel is centred for each."""
    for _ in range(ways.rounds[2]):
        image = restore(low, kernels.centred(kernel), scale, noise).clamp(0, 1)
        normal = taps.equations(image, low, scale=scale, size=kernel.shape[-1], heard=heard)
        kernel = taps.pruned(taps.solve(normal, ridge=ways.ridge, smooth=ways.polish), faint=ways.thin, minor=0.02)
    return kernel, restore(low, kernels.centred(kernel), scale, noise)


def _periodic(
    image: Float[Tensor, "1 c h w"], room: int
) -> tuple[Float[Tensor, "1 c h2 w2"], Float[Tensor, "1 1 h2 w2"]]:
    """Join opposite borders over 2 `room` more pixels, and say how much each pixel counts: none within `room`."""
    weights = []
    for axis in (-2, -1):
        extent, wide = image.shape[axis], 2 * room
        after = image.narrow(axis, extent - wide, wide).flip(axis)
        before = image.narrow(axis, 0, wide).flip(axis)
        blend = ((torch.arange(wide, device=image.device) + 0.5) / wide * math.pi).cos().add(1).div(2)
        blend = blend[:, None] if axis == -2 else blend
        image = torch.cat([image, blend * after + (1 - blend) * before], dim=axis)
        inner = torch.arange(extent, device=image.device) + 0.5
        rim = torch.minimum(inner, extent - inner)  # pixels to the nearer border
        rise = ((rim - room) / room).clamp(0, 1)
        weights.append(functional.pad(rise.mul(math.pi).cos().mul(-1).add(1).div(2), (0, wide)))
    return image, (weights[0][:, None] * weights[1])[None, None]


def _sparsity(image: Float[Tensor, "1 c H W"], heard: Float[Tensor, "1 1 h w"] | None, scale: int) -> float:
    grey = image.mean(dim=1, keepdim=True)
    edge = torch.hypot(*(grey.roll(-1, axis) - grey for axis in (-2, -1)))
    if heard is not None:
        edge = edge * functional.interpolate(heard, scale_factor=scale, mode="bilinear")
    return float(edge.sum() / edge.square().sum().sqrt()) / math.sqrt(edge.numel())


def _odd(value: float) -> int:
    return max(3, 2 * math.floor(value / 2) + 1)

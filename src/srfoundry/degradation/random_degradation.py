"""Random degradations for training: pairs made fresh for every step, one degradation an image, on any device.

A model draws the degradations of a batch of photographs. Beside the low-resolution images it gives the linear operator
that made them, noise and compression left out, which the closed loop of dual regression takes as its dual map: with the
very blur, phase and decimation of each pair, D(P(y)) = D(x).

All results lie on the grid of MATLAB's bicubic, so that one network serves every kind of input.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from srfoundry.degradation import kernels, operator
from srfoundry.degradation.damage import add_noise, bits, compress, sharpen
from srfoundry.degradation.settings import BlurRanges, RandomDegradation
from srfoundry.imaging import resize

Operator = Callable[[Float[Tensor, "b 3 H W"]], Float[Tensor, "b 3 h w"]]

RESIZINGS = ("bilinear", "bicubic", "area")  # between the rounds (Real-ESRGAN)


@dataclass(frozen=True)
class Degraded:
    """Low-resolution images, and what made them.

    Args:
        low: in 8 bits, range [0, 1].
        operator: what made them of the photographs but for noise, sharpening and compression; linear, differentiable,
            of as many images.
        kernels: the operator as kernels for direct decimation onto the grid of MATLAB's bicubic.
        known: rows of which that is the whole operator; the others went through two rounds, and their kernel is void.
    """

    low: Float[Tensor, "b 3 h w"]
    operator: Operator
    kernels: Float[Tensor, "b k k"]
    known: Bool[Tensor, " b"]


def degraded(
    high: Float[Tensor, "b 3 H W"], scale: int, chosen: RandomDegradation, *, rng: torch.Generator
) -> Degraded:
    """Degrade a batch: a share by MATLAB's bicubic alone, the others each in its own way.

    Which row has which kind is drawn, so that no kind goes with a place in the batch.

    Args:
        high: photographs, range [0, 1].
        scale: of the reduction; it divides both sides.
        chosen: the model and its ranges.
        rng: on the CPU; the same draws give the same images.
    """
    count = len(high)
    clean = count if chosen.degradation == "bicubic" else round(count * chosen.clean)
    left = count - clean
    once = {"bicubic": 0, "blind": left, "photographs": round(left * chosen.rounds.once)}[chosen.degradation]
    order = torch.randperm(count, generator=rng).to(high.device)
    parts = [
        part(high[rows], scale, chosen, rng=rng)
        for part, rows in zip((reduced, blind, twice), order.split([clean, once, left - once]), strict=True)
        if len(rows)
    ]
    return _in_order(parts, order.argsort())


def reduced(high: Float[Tensor, "b 3 H W"], scale: int, chosen: RandomDegradation, *, rng: torch.Generator) -> Degraded:
    """MATLAB's bicubic and nothing else; `rng` takes no part."""

    def apply(image: Tensor) -> Tensor:
        return resize.cubic(image, 1 / scale)

    kernel = bicubic_kernel(scale, chosen.blur.size(scale)).to(high)
    return Degraded(bits(apply(high)), apply, kernel.expand(len(high), -1, -1), _rows(high, known=True))


def blind(high: Float[Tensor, "b 3 H W"], scale: int, chosen: RandomDegradation, *, rng: torch.Generator) -> Degraded:
    """y = (x * k) reduced by s + n, then JPEG for a share: Gaussians of FKP's range and motion, one kernel an image."""
    blur = draw_blurs(len(high), scale, chosen.blur, rng=rng).to(high)

    def apply(image: Tensor) -> Tensor:
        return operator.degrade(image, blur, scale)

    low = add_noise(apply(high), chosen.damage, rng=rng)
    return Degraded(compress(low, chosen.damage, rng=rng), apply, blur, _rows(high, known=True))


def twice(high: Float[Tensor, "b 3 H W"], scale: int, chosen: RandomDegradation, *, rng: torch.Generator) -> Degraded:
    """Two rounds of blur, resizing, noise and JPEG, as BSRGAN (Zhang et al. 2021) and Real-ESRGAN (Wang et al. 2021).

    The factor and the filter of the resizing between the rounds are one for a batch, so that it stays one tensor;
    everything else is drawn for each image.
    """
    ranges, damage = chosen.rounds, chosen.damage
    first, second = (_round(high, widest, rng=rng) for widest in (ranges.first_blur, ranges.second_blur))
    second = _for_a_share(second, ranges.second_blurred, rng=rng)
    draws = torch.rand(2, generator=rng, dtype=torch.float64).tolist()
    least, most = ranges.resize
    factor = math.exp(math.log(least) + draws[0] * (math.log(most) - math.log(least)))
    height, width = high.shape[-2:]
    middle = (max(round(height * factor), height // scale), max(round(width * factor), width // scale))
    filter_ = RESIZINGS[int(draws[1] * len(RESIZINGS))]

    def begin(image: Tensor) -> Tensor:
        return _resized(operator.degrade(image, first, 1), middle, filter_)

    def end(image: Tensor) -> Tensor:
        return _resized(operator.degrade(image, second, 1), (height // scale, width // scale), "bicubic")

    once = compress(add_noise(begin(high), damage, rng=rng), damage, rng=rng)
    low = sharpen(add_noise(end(once), damage, rng=rng), ranges.sharpened, rng=rng)
    void = bicubic_kernel(scale, chosen.blur.size(scale)).to(high).expand(len(high), -1, -1)
    return Degraded(compress(low, damage, rng=rng), lambda image: end(begin(image)), void, _rows(high, known=False))


def draw_blurs(count: int, scale: int, ranges: BlurRanges, *, rng: torch.Generator) -> Float[Tensor, "n k k"]:
    """Kernels for direct decimation onto the grid of MATLAB's bicubic: Gaussians, and a share of motion blurs.

    Half of the Gaussians are isotropic.

    Args:
        count: of kernels.
        scale: that widths grow with, and whose grid they are centred for.
        ranges: their widths.
        rng: on the CPU.
    """
    offset, size = (scale - 1) / 2, ranges.size(scale)
    low, high = ranges.variances
    draws = torch.rand(count, 5, generator=rng, dtype=torch.float64)
    first, other = ((low + draws[:, axis] * (high - low)) * scale for axis in (0, 1))
    second = torch.where(draws[:, 2] < 0.5, first, other)
    found = kernels.gaussian(size, first, second, draws[:, 3] * math.pi, offset=offset).float()
    for index, chance in enumerate(draws[:, 4].tolist()):
        if chance < ranges.motion:
            family = kernels.draw_line if chance < ranges.motion / 2 else kernels.draw_trajectory
            found[index] = family(1, size=size, scale=scale, rng=rng, offset=offset)[0][0]
    return found


@cache
def bicubic_kernel(scale: int, size: int) -> Float[Tensor, "1 k k"]:
    """MATLAB's bicubic reduction as a kernel for direct decimation: what one pixel of its result reads."""
    side = scale * (2 * size // scale + 1)
    middle = side // scale // 2
    with torch.inference_mode(False), torch.enable_grad():
        image = torch.zeros(1, 1, side, side, dtype=torch.float64, requires_grad=True)
        read = torch.autograd.grad(resize.cubic(image, 1 / scale)[0, 0, middle, middle], image)[0][0]
    first = scale * middle - size // 2
    return kernels.normalise(read[:, first : first + size, first : first + size]).float()


def _in_order(parts: list[Degraded], inverse: Tensor) -> Degraded:
    """The parts' rows, each at its place in the batch."""
    forward = inverse.argsort()
    sizes = [len(part.low) for part in parts]

    def apply(image: Tensor) -> Tensor:
        pieces = image[forward].split(sizes)
        return torch.cat([part.operator(piece) for part, piece in zip(parts, pieces, strict=True)])[inverse]

    low, blurs, known = (
        torch.cat([getattr(part, name) for part in parts])[inverse] for name in ("low", "kernels", "known")
    )
    return Degraded(low, apply, blurs, known)


def _rows(high: Tensor, *, known: bool) -> Tensor:
    return torch.full((len(high),), known, device=high.device)


def _resized(image: Tensor, size: tuple[int, int], filter_: str) -> Tensor:
    if filter_ == "bicubic":
        return resize.cubic(image, (size[0] / image.shape[-2], size[1] / image.shape[-1]), size)
    rows, columns = (_weights(*extents, filter_).to(image) for extents in zip(image.shape[-2:], size, strict=True))
    return rows @ image @ columns.mT


def _weights(extent: int, size: int, filter_: str) -> Float[Tensor, "o i"]:
    """Antialiased bilinear or area resizing of one axis as a matrix: PyTorch's have no deterministic gradient on a GPU.

    Args:
        extent: pixels of the input.
        size: pixels of the result.
        filter_: bilinear is a triangle, area the share of each input pixel that a result's pixel covers.
    """
    step = extent / size
    place, pixel = torch.arange(size, dtype=torch.float64)[:, None], torch.arange(extent, dtype=torch.float64)
    if filter_ == "area":
        reach = torch.minimum(pixel + 1, (place + 1) * step) - torch.maximum(pixel, place * step)
    else:
        reach = 1 - ((place + 0.5) * step - 0.5 - pixel).abs() / max(step, 1.0)
    reach = reach.clamp_min(0)
    return reach / reach.sum(dim=1, keepdim=True)


def _round(high: Tensor, widest: tuple[float, float], *, rng: torch.Generator) -> Tensor:
    least, most = widest
    gaussians = BlurRanges(variances=(least**2, most**2), motion=0.0)
    return draw_blurs(len(high), 1, gaussians, rng=rng).to(high)


def _for_a_share(blur: Float[Tensor, "n k k"], share: float, *, rng: torch.Generator) -> Float[Tensor, "n k k"]:
    """The kernels, but for some that become the identity."""
    still = torch.zeros_like(blur[:1])
    still[:, blur.shape[-1] // 2, blur.shape[-1] // 2] = 1
    blurred = (torch.rand(len(blur), generator=rng) < share).to(blur.device)
    return torch.where(blurred.view(-1, 1, 1), blur, still)

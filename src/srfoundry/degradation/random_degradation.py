"""Random degradations for training: pairs made fresh for every step, one degradation an image, on any device.

A model draws the degradations of a batch of photographs. Beside the low-resolution images it gives the linear operator
that made them, noise and compression left out, which the closed loop of dual regression takes as its dual map: with the
very blur, phase and decimation of each pair, D(P(y)) = D(x).

All results lie on the grid of MATLAB's bicubic, so that one network serves every kind of input.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from srfoundry.core.seeds import Rows
from srfoundry.degradation import kernels, operator
from srfoundry.degradation.damage import add_noise, bits, compress, sharpen
from srfoundry.degradation.reductions import antialiasing, sized
from srfoundry.degradation.settings import BlurRanges, RandomDegradation
from srfoundry.imaging import resize

Operator = Callable[[Float[Tensor, "b 3 H W"]], Float[Tensor, "b 3 h w"]]

FIRST = slice(1)
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
        known_in_all: how many those are in the batch of which these images are a part.
    """

    low: Float[Tensor, "b 3 h w"]
    operator: Operator
    kernels: Float[Tensor, "b k k"]
    known: Bool[Tensor, " b"]
    known_in_all: int


def degraded(
    high: Float[Tensor, "b 3 H W"],
    scale: int,
    chosen: RandomDegradation,
    *,
    rng: torch.Generator,
    rows: Rows | None = None,
) -> Degraded:
    """Degrade a batch: a share by MATLAB's bicubic alone, the others each in its own way.

    Which row has which kind is drawn, so that no kind goes with a place in the batch.

    Args:
        high: photographs, range [0, 1].
        scale: of the reduction; it divides both sides.
        chosen: the model and its ranges.
        rng: on the CPU; the same draws give the same images.
        rows: of the batch of which these photographs are a part; the whole one if not given.
    """
    rows = rows or Rows(len(high))
    count = rows.count
    clean = count if chosen.degradation == "bicubic" else round(count * chosen.clean)
    left = count - clean
    once = {"bicubic": 0, "blind": left, "photographs": round(left * chosen.rounds.once)}[chosen.degradation]
    order = torch.randperm(count, generator=rng)
    places = torch.full((count,), -1)
    places[rows.here] = torch.arange(len(high))
    parts, here = [], []
    for part, kind in zip((reduced, blind, twice), order.split([clean, once, left - once]), strict=True):
        own = (places[kind] >= 0).nonzero().flatten()
        if not len(kind) or (not len(own) and part is reduced):
            continue
        # where none of a kind is here, one goes through it all the same, for the draws of those that are not
        shown = places[kind[own]] if len(own) else torch.zeros(1, dtype=torch.long)
        made = part(
            high[shown.to(high.device)], scale, chosen, rng=rng, rows=Rows(len(kind), own if len(own) else FIRST)
        )
        if len(own):
            parts.append(made)
            here.append(shown)
    return _in_order(parts, torch.cat(here).argsort().to(high.device), known_in_all=clean + once)


def reduced(
    high: Float[Tensor, "b 3 H W"], scale: int, chosen: RandomDegradation, *, rng: torch.Generator, rows: Rows
) -> Degraded:
    """MATLAB's bicubic and nothing else; `rng` and `rows` take no part."""

    def apply(image: Tensor) -> Tensor:
        return resize.cubic(image, 1 / scale)

    kernel = sized(antialiasing("bicubic", scale), chosen.blur.size(scale)).to(high)
    return Degraded(bits(apply(high)), apply, kernel.expand(len(high), -1, -1), _known(high), rows.count)


def blind(
    high: Float[Tensor, "b 3 H W"], scale: int, chosen: RandomDegradation, *, rng: torch.Generator, rows: Rows
) -> Degraded:
    """y = (x * k) reduced by s + n, then JPEG for a share: Gaussians of FKP's range and motion, one kernel an image."""
    blur = draw_blurs(rows.count, scale, chosen.blur, rng=rng)[rows.here].to(high)

    def apply(image: Tensor) -> Tensor:
        return operator.degrade(image, blur, scale)

    low = add_noise(apply(high), chosen.damage, rng=rng, rows=rows)
    return Degraded(compress(low, chosen.damage, rng=rng, rows=rows), apply, blur, _known(high), rows.count)


def twice(
    high: Float[Tensor, "b 3 H W"], scale: int, chosen: RandomDegradation, *, rng: torch.Generator, rows: Rows
) -> Degraded:
    """Two rounds of blur, resizing, noise and JPEG, as BSRGAN (Zhang et al. 2021) and Real-ESRGAN (Wang et al. 2021).

    The factor and the filter of the resizing between the rounds are one for a batch, so that it stays one tensor;
    everything else is drawn for each image. `data.blind_sets.photographs` does as much to one image of a test set,
    with draws of its own that stay what they are when these change.
    """
    ranges, damage = chosen.rounds, chosen.damage
    blurs = [_round(rows.count, widest, rng=rng).to(high) for widest in (ranges.first_blur, ranges.second_blur)]
    first, second = blurs[0][rows.here], _for_a_share(blurs[1], ranges.second_blurred, rng=rng)[rows.here]
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

    once = compress(add_noise(begin(high), damage, rng=rng, rows=rows), damage, rng=rng, rows=rows)
    low = sharpen(add_noise(end(once), damage, rng=rng, rows=rows), ranges.sharpened, rng=rng, rows=rows)
    void = sized(antialiasing("bicubic", scale), chosen.blur.size(scale)).to(high).expand(len(high), -1, -1)
    low = compress(low, damage, rng=rng, rows=rows)
    return Degraded(low, lambda image: end(begin(image)), void, ~_known(high), 0)


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
    draws = torch.rand(count, 5, generator=rng, dtype=torch.float64)
    first, other, round_, angle, chance = draws.unbind(dim=1)
    own = torch.stack([first, torch.where(round_ < 0.5, first, other), angle], dim=1)
    found = kernels.gaussian_at(size, own, ranges.variances, scale=scale, offset=offset).float()
    return kernels.with_motion(found, chance / ranges.motion, lines=0.5, scale=scale, rng=rng, offset=offset)


def _in_order(parts: list[Degraded], inverse: Tensor, *, known_in_all: int) -> Degraded:
    """The parts' rows, each at its place in the batch."""
    forward = inverse.argsort()
    sizes = [len(part.low) for part in parts]

    def apply(image: Tensor) -> Tensor:
        pieces = image[forward].split(sizes)
        return torch.cat([part.operator(piece) for part, piece in zip(parts, pieces, strict=True)])[inverse]

    low, blurs, known = (
        torch.cat([getattr(part, name) for part in parts])[inverse] for name in ("low", "kernels", "known")
    )
    return Degraded(low, apply, blurs, known, known_in_all)


def _known(high: Tensor) -> Tensor:
    return torch.ones(len(high), dtype=torch.bool, device=high.device)


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


def _round(count: int, widest: tuple[float, float], *, rng: torch.Generator) -> Tensor:
    least, most = widest
    gaussians = BlurRanges(variances=(least**2, most**2), motion=0.0)
    return draw_blurs(count, 1, gaussians, rng=rng)


def _for_a_share(blur: Float[Tensor, "n k k"], share: float, *, rng: torch.Generator) -> Float[Tensor, "n k k"]:
    """The kernels, but for some that become the identity."""
    still = torch.zeros_like(blur[:1])
    still[:, blur.shape[-1] // 2, blur.shape[-1] // 2] = 1
    blurred = (torch.rand(len(blur), generator=rng) < share).to(blur.device)
    return torch.where(blurred.view(-1, 1, 1), blur, still)

"""What may have happened to an image, as the classifier distinguishes it: each history is a family of kernels.

All are kernels under direct decimation (`reductions`). What differs between histories is what is done about them: a
reduced or an unblurred image is enlarged, a blurred one restored; and where a low-resolution pixel lies in its block.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from srfoundry.degradation import kernels
from srfoundry.degradation.reductions import antialiasing, combined, sized

SHARES = {  # of the histories among the images that the classifier learns from
    "reduced": 0.17,  # a thumbnail by a kernel with negative lobes (bicubic, Lanczos), else sharp
    "area": 0.09,  # a thumbnail of the means of blocks
    "decimated": 0.10,  # every s-th pixel of a sharp image
    "gaussian": 0.19,  # a Gaussian blur, every s-th pixel
    "disc": 0.09,  # defocus, likewise
    "line": 0.09,  # straight motion
    "shake": 0.13,  # camera shake
    "blurred, reduced": 0.14,  # any blur, then antialiased
}
# Among the images that it learns from how sharp ones were made small:
MADE = {"reduced": 0.4, "area": 0.3, "decimated": 0.3}
SHARPENED = 0.5  # share of the thumbnails that a mask sharpened, where masks are learned
NAMES = tuple(SHARES)
FREE = "shake"  # whose kernels are of free form
FORMS = ("gaussian", "disc", "line", FREE)  # of blurs
SHAPED = ("disc", "line", FREE)  # whose spectrum has zeros
SHARP = ("reduced", "area", "decimated")  # nothing to restore
AVERAGED = ("reduced", "area", "blurred, reduced")  # low-resolution pixels are means around the centres of their blocks
REDUCTIONS = {"bicubic": 0.45, "area": 0.3, "lanczos": 0.25}
LOBED = {"bicubic": 0.64, "lanczos": 0.36}  # shares of those that have negative lobes
SIZE = 25  # taps a side of blurs (USRNet, and benchmarks of motion)
VARIANCES = (0.12, 3.0)  # of Gaussians, in multiples of the scale, px^2
LONGEST = 20.0  # of straight motion, px
RADII = (1.0, 4.5)  # of discs, px


def phase(name: str, scale: int) -> float:
    """High-resolution pixels from a low-resolution pixel's place to the centre of its block."""
    return (scale - 1) / 2 if name in AVERAGED else 0.0


def taps(scale: int) -> int:
    """Taps a side of every kernel that is drawn at a scale."""
    return SIZE + antialiasing("lanczos", scale).shape[-1] - 1


@dataclass(frozen=True)
class Drawn:
    """Kernels at random, and the history of each.

    Attributes:
        kernel: under direct decimation.
        history: its place in NAMES.
    """

    kernel: Float[Tensor, "n k k"]
    history: Int[Tensor, " n"]


def draw(count: int, scale: int, *, shares: Mapping[str, float] = SHARES, rng: torch.Generator) -> Drawn:
    """Kernels of several histories.

    Args:
        count: how many.
        scale: of the reduction; the widths of Gaussians grow with it.
        shares: of each history.
        rng: on the CPU.
    """
    blurs = {
        "gaussian": _gaussians(count, scale, rng),
        "disc": _discs(count, rng),
        "line": _lines(count, scale, rng),
        "shake": kernels.centred(kernels.draw_trajectory(count, size=SIZE, scale=scale, rng=rng)[0]),
    }
    history = torch.multinomial(
        torch.tensor([shares.get(name, 0.0) for name in NAMES]), count, replacement=True, generator=rng
    )
    how = torch.multinomial(torch.tensor(list(REDUCTIONS.values())), count, replacement=True, generator=rng)
    lobed = torch.multinomial(torch.tensor(list(LOBED.values())), count, replacement=True, generator=rng).tolist()
    before = torch.multinomial(torch.tensor([0.7, 0.1, 0.1, 0.1]), count, replacement=True, generator=rng)
    size, found = taps(scale), []
    for row, (index, reduction) in enumerate(zip(history.tolist(), how.tolist(), strict=True)):
        name, reducing = NAMES[index], tuple(REDUCTIONS)[reduction]
        if name == "reduced":
            kernel = antialiasing(tuple(LOBED)[lobed[row]], scale)
        elif name == "area":
            kernel = antialiasing("area", scale)
        elif name == "decimated":
            kernel = torch.ones(1, 1, 1)
        elif name == "blurred, reduced":
            kernel = combined(tuple(blurs.values())[int(before[row])][row, None], reducing, scale)
        else:
            kernel = blurs[name][row, None]
        found.append(sized(kernel, size))
    return Drawn(torch.cat(found), history)


def _gaussians(count: int, scale: int, rng: torch.Generator) -> Tensor:
    """Half of them with variances drawn uniformly, half with their logarithms, since narrow ones are easy to miss."""
    draws = torch.rand(count, 4, generator=rng, dtype=torch.float64)
    low, high = (value * scale for value in VARIANCES)
    spread, logarithmic = low + draws[:, :2] * (high - low), low * (high / low) ** draws[:, :2]
    variance = torch.where(draws[:, 3:] < 0.5, spread, logarithmic)
    return kernels.gaussian(SIZE, variance[:, 0], variance[:, 1], draws[:, 2] * math.pi).float()


def _lines(count: int, scale: int, rng: torch.Generator) -> Tensor:
    draws = torch.rand(count, 2, generator=rng, dtype=torch.float64)
    shortest = 1.5 * scale
    length = shortest + draws[:, 0] * max(LONGEST - shortest, 0)
    return kernels.line(SIZE, length, draws[:, 1] * math.pi).float()


def _discs(count: int, rng: torch.Generator) -> Tensor:
    radius = RADII[0] + torch.rand(count, generator=rng) * (RADII[1] - RADII[0])
    return sized(kernels.disc(2 * math.ceil(RADII[1]) + 1, radius), SIZE)

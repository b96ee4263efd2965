"""How far tiles must overlap, measured: the least overlap whose error is within a tolerance.

A formal receptive field says little, for the global means of channel attention make it infinite and most of what it
holds counts for nothing. What counts is what a person could see, a line beside the border of two tiles. So an image is
cut, and the part is compared with the whole, line by line from the cut on: near it the part lacks its surroundings,
further away only the means differ. A tile counts from half of its overlap on (tiling.weights), and what is shown mixes
tiles with weights that sum to one. So no row or column of a tiled image is further from the whole image, root mean
square, than the worst line of a part at that distance or beyond: this is the error that the tolerance bounds.

What the means change no overlap mends, and it is larger here than in use, where tiles are larger. Where that alone is
above the tolerance, the overlap is the least whose error is within a tenth of it, and the card says how large it is.
"""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Float

OVERLAPS = (8, 12, 16, 24, 32)  # input pixels; over fewer than 8 tiles of unlike means would be faded too steeply
WINDOW = 192  # input pixels a side of the pictures that are looked at; they are cut in half
LEFT = 1.1  # times the error beyond the largest overlap: what is below is no longer the overlap's doing

Upscale = Callable[[Float[np.ndarray, "1 c h w"]], Float[np.ndarray, "1 c H W"]]


@dataclasses.dataclass(frozen=True)
class Overlap:
    """Input pixels that tiles reach into their neighbours, and the error that is left, image range [0, 1]."""

    pixels: int
    error: float


def least(upscale: Upscale, pictures: Iterable[Float[np.ndarray, "1 c h w"]], scale: int, tolerance: float) -> Overlap:
    """The smallest of OVERLAPS whose error on the worst picture is within the tolerance, or near the least there is.

    Args:
        upscale: maps (1, c, h, w) to (1, c, scale h, scale w).
        pictures: photographs in [0, 1]; no more than WINDOW pixels a side are wanted.
        scale: the enlargement.
        tolerance: of the error, image range [0, 1].
    """
    lines = [line for low in pictures for line in _lines(upscale, low, scale)]

    def error(overlap: int) -> float:
        return max((float(line[overlap // 2 :].max(initial=0.0)) for line in lines), default=0.0)

    bound = max(tolerance, LEFT * error(OVERLAPS[-1]))
    pixels = next(overlap for overlap in OVERLAPS if error(overlap) <= bound)
    return Overlap(pixels, error(pixels))


def _lines(upscale: Upscale, low: np.ndarray, scale: int) -> list[Float[np.ndarray, " d"]]:
    """Root mean squares of a part minus the whole, the largest at each distance (input pixels) from the cut.

    Cut once across the rows and once across the columns.
    """
    whole, found = upscale(low), []
    for axis in (2, 3):
        kept = max(low.shape[axis] // 2, 1)
        part = upscale(np.ascontiguousarray(np.take(low, range(kept), axis)))
        difference = part - np.take(whole, range(kept * scale), axis)
        squares = np.square(difference, dtype=np.float64).mean(axis=(0, 1, 5 - axis))
        found.append(np.sqrt(squares.reshape(kept, scale).max(axis=1))[::-1])
    return found

"""Even bars around a picture: letterboxes, margins of a scan, frames. Their edges are no part of what was photographed.

A bar is of one colour and ends abruptly, along most of a side. What is white around an object does not.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from srfoundry.imaging.user_image import Photograph
from srfoundry.imaging.windows import Box

EVEN = 8  # levels by which pixels of a bar may differ from its colour
STEP = 20  # levels from a line to the second one after it
MOST = 0.6  # share of a line's pixels that are so far apart where the picture begins
FEWEST = 3  # lines of a bar
BLEND = 8  # lines between a bar and the picture at most, where a JPEG file or a reduction mixed both


def without_bars(original: Photograph, *, least: int) -> tuple[Photograph, Box | None]:
    """The picture inside of its bars, and where it lies; all of the photograph where there are none.

    Args:
        original: with them.
        least: pixels a side below which the picture is not taken out.
    """
    box = picture(original.pixels)
    if box is None or min(box[2:]) < least:
        return original, None
    top, left, tall, wide = box
    pixels = np.ascontiguousarray(original.pixels[top : top + tall, left : left + wide])
    return replace(original, pixels=pixels, alpha=None), box


def picture(pixels: UInt8[np.ndarray, "h w 3"]) -> Box | None:
    """Where the picture lies inside of its bars; None where there are none."""
    height, width = pixels.shape[:2]
    top, bottom = _bar(pixels), _bar(pixels[::-1])
    if top + bottom >= height:
        return None
    across = pixels[top : height - bottom].swapaxes(0, 1)
    left, right = _bar(across), _bar(across[::-1])
    if left + right >= width or not any((top, bottom, left, right)):
        return None
    return top, left, height - top - bottom, width - left - right


def _bar(lines: UInt8[np.ndarray, "n m 3"]) -> int:
    """Lines from the first on that are a bar, and what of the picture is mixed with it."""
    colour, even = np.median(lines[0], axis=0).astype(np.int16), 0
    while even < len(lines) and np.abs(lines[even] - colour).max() <= EVEN:
        even += 1
    if even < FEWEST:
        return 0
    near = lines[even - 2 : even + BLEND].astype(np.int16)
    begins = (np.abs(near[2:] - near[:-2]).max(axis=2) > STEP).mean(axis=1) >= MOST
    return even + int(np.argmax(begins)) + 1 if begins.any() else 0

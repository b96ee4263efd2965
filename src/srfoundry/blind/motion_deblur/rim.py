"""The rim of a photograph that a kernel is found in: its pixels saw what lies outside, so they do not count."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.degradation.borders import join_ends, quick_room


def least_side(size: int, scale: int) -> int:
    """Pixels a side of the smallest photograph that a kernel can be found in: some lie within its unused rim."""
    return max(16, 3 * _width(size, scale) + 1)


def rims(size: int, scale: int, parts: tuple[float, float]) -> tuple[int, int]:
    """Pixels at each border of a photograph that do not count, and from how many on each counts in full.

    What they saw of the blur is unknown.

    Args:
        size: taps a side of the kernel.
        scale: low-resolution pixels are so many of its taps.
        parts: both, in widths of the kernel (`FreeFormSettings.rims`).
    """
    rim, room = (max(1, round(part * _width(size, scale))) for part in parts)
    return rim, max(room, rim + 1)


def made_periodic(
    image: Float[Tensor, "1 c h w"], rim: int, room: int
) -> tuple[Float[Tensor, "1 c h2 w2"], Float[Tensor, "1 1 h2 w2"]]:
    """Join opposite borders over `room` pixels or some more, and say how much each counts.

    Args:
        image: any range.
        rim: pixels at each border that do not count.
        room: from so many on each counts in full.
    """
    added = [quick_room(extent, room) for extent in image.shape[-2:]]
    weights = []
    for extent, beyond in zip(image.shape[-2:], added, strict=True):
        inner = torch.arange(extent, device=image.device) + 0.5
        nearest = torch.minimum(inner, extent - inner)  # pixels to the nearer border
        rise = ((nearest - rim) / (room - rim)).clamp(0, 1)
        weights.append(functional.pad(rise.mul(math.pi).cos().mul(-1).add(1).div(2), (0, beyond)))
    return join_ends(image, added, fade="cosine"), (weights[0][:, None] * weights[1])[None, None]


def _width(size: int, scale: int) -> int:
    """Of a kernel, in low-resolution pixels."""
    return -(-size // scale)

"""Ends of an image joined so that it can repeat.

Methods that work on spectra take an image for periodic. A photograph is not: between its end and its beginning there is
a step, which would ring through the image. Made-up pixels that lead from one to the other take the step away.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from scipy.fft import next_fast_len
from torch import Tensor

from srfoundry.imaging.mirror import mirror_indices

Fade = Literal["linear", "cosine"]


def join_ends(image: Float[Tensor, "b c h w"], room: Sequence[int], *, fade: Fade) -> Float[Tensor, "b c h2 w2"]:
    """Add rows below and columns on the right that lead from the image's end back to its beginning.

    What lies behind the end fades into what lies before the beginning, both mirrored, so that the image repeats
    without a step.

    Args:
        image: any range.
        room: rows and columns to add.
        fade: the course of the weights; `cosine` sets out and arrives without a bend.
    """
    for axis, added in zip((-2, -1), room, strict=True):
        if added == 0:
            continue
        extent = image.shape[axis]
        middles = torch.arange(added, device=image.device, dtype=image.dtype) + 0.5
        share = middles / added if fade == "linear" else 0.5 - 0.5 * torch.cos(torch.pi * middles / added)
        share = share.view(-1, 1) if axis == -2 else share
        index = mirror_indices(torch.arange(added, device=image.device), extent)
        end = image.index_select(axis, extent - 1 - index)
        beginning = image.index_select(axis, index.flip(0))
        image = torch.cat([image, end * (1 - share) + beginning * share], dim=axis)
    return image


UNIT = 8  # extents are multiples of it


def quick_room(extent: int, least: int) -> int:
    """Pixels to join an image's ends over, for `join_ends`: few enough to be fast to transform, enough to be smooth.

    Joined, the extent is a multiple of 8 with no large prime factor: transforms of 280 pixels a side take a fifth of
    what those of 271, a prime, take. An image of fewer pixels than that would add is joined over as many as it has, and
    then has twice as many, whatever their factors: mirrored farther out, it only repeats.

    Args:
        extent: of the image, pixels.
        least: that are wanted; a few more may come of it, but never more than the image has.
    """
    joined = next_fast_len(-(-(extent + least) // UNIT))
    assert joined is not None  # of an int it is an int
    return min(UNIT * joined - extent, extent)

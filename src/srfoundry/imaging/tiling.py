"""Tiles: run an image function over an image of any size with bounded memory and without visible seams.

A net with channel attention takes global means, so two neighbouring tiles never agree exactly and a hard cut between
them would show as a line. Neighbours are therefore cross-faded. A tile's outermost pixels lack their surroundings;
they only give context to the others and have weight zero in the result. For a net that sees no further than its
overlap the result thus equals that of the whole image.
"""

import math
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from srfoundry.core import seeds
from srfoundry.core.errors import FoundryError
from srfoundry.imaging import images

Upscale = Callable[[Float[Tensor, "1 c h w"]], Float[Tensor, "1 c H W"]]
Progress = Callable[[int, int], None]


def starts(extent: int, tile: int, overlap: int) -> list[int]:
    """First pixels of the tiles that cover `extent` pixels, spread evenly; each has min(tile, extent) pixels.

    Neighbours share at least 2 * overlap pixels: each reaches `overlap` pixels beyond their common border.
    """
    if tile >= extent:
        return [0]
    count = math.ceil((extent - 2 * overlap) / (tile - 2 * overlap))
    return [(extent - tile) * index // (count - 1) for index in range(count)]


def weights(first: list[int], tile: int, overlap: int, scale: int) -> list[Float[Tensor, " n"]]:
    """Blending weight of each tile along one axis, per output pixel of the tile; over all tiles they sum to one.

    Tile i weighs rise_i - rise_(i+1), where rise_i climbs linearly from 0 to 1 inside the pixels that tiles i-1 and i
    share, leaving overlap // 2 input pixels at either end as context; the sum telescopes to one.
    """
    centres = (torch.arange(tile * scale, dtype=torch.float64) + 0.5) / scale
    context = overlap // 2

    def rise(index: int, position: Tensor) -> Tensor:
        if index == 0:
            return torch.ones_like(position)
        if index == len(first):
            return torch.zeros_like(position)
        begin, end = first[index] + context, first[index - 1] + tile - context
        return ((position - begin) / max(end - begin, 1e-6)).clamp(0, 1)

    return [(rise(i, s + centres) - rise(i + 1, s + centres)).float() for i, s in enumerate(first)]


def bands(
    upscale: Upscale,
    low: Float[Tensor, "1 c h w"],
    scale: int,
    *,
    tile: int,
    overlap: int,
    progress: Progress | None = None,
) -> Iterator[Float[Tensor, "1 c rows W"]]:
    """The enlarged image as finished bands of rows, from the top down.

    No more than one row of tiles is held in memory.

    Args:
        upscale: maps (1, c, h, w) to (1, c, scale h, scale w).
        low: any range.
        scale: the enlargement.
        tile: most input pixels a side that `upscale` sees at once.
        overlap: input pixels that each tile reaches into its neighbours.
        progress: called with (tiles done, tiles in all).

    Raises:
        FoundryError: the tile has no room for its overlaps, or `upscale` returns another size.
    """
    check(tile, overlap)
    height, width = low.shape[-2:]
    rows, columns = starts(height, tile, overlap), starts(width, tile, overlap)
    tall, wide = min(tile, height), min(tile, width)
    row_weights = weights(rows, tall, overlap, scale)
    column_weights = weights(columns, wide, overlap, scale)
    held = low.new_zeros(1, low.shape[1], 0, width * scale)
    for i, top in enumerate(rows):
        fresh = low.new_zeros(1, low.shape[1], tall * scale - held.shape[2], width * scale)
        held = torch.cat([held, fresh], dim=2)
        for j, left in enumerate(columns):
            piece = upscale(low[..., top : top + tall, left : left + wide].contiguous())
            _check_size(piece, low.shape[1], tall * scale, wide * scale)
            blend = row_weights[i][:, None] * column_weights[j][None, :]
            held[..., left * scale : (left + wide) * scale] += piece.to(held) * blend.to(held)
            if progress is not None:
                progress(i * len(columns) + j + 1, len(rows) * len(columns))
        finished = ((rows[i + 1] if i + 1 < len(rows) else top + tall) - top) * scale
        yield held[:, :, :finished]
        held = held[:, :, finished:]


def tiled(
    upscale: Upscale,
    low: Float[Tensor, "1 c h w"],
    scale: int,
    *,
    tile: int,
    overlap: int,
    progress: Progress | None = None,
) -> Float[Tensor, "1 c H W"]:
    """The whole enlarged image as floats; arguments are those of `bands`.

    >>> tiled(lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3), low, 2, tile=64, overlap=8)
    """
    return torch.cat(list(bands(upscale, low, scale, tile=tile, overlap=overlap, progress=progress)), dim=2)


def tiled_uint8(
    upscale: Upscale,
    low: Float[Tensor, "1 3 h w"],
    scale: int,
    *,
    tile: int,
    overlap: int,
    progress: Progress | None = None,
) -> UInt8[Tensor, "1 H W 3"]:
    """As `tiled`, in 8 bits: 3 bytes a pixel and one row of tiles are all that is held of the output."""
    height, width = low.shape[-2:]
    result = torch.empty(1, height * scale, width * scale, 3, dtype=torch.uint8)
    row = 0
    for band in bands(upscale, low, scale, tile=tile, overlap=overlap, progress=progress):
        result[:, row : row + band.shape[2]] = images.to_uint8(band)
        row += band.shape[2]
    return result


def count(height: int, width: int, tile: int, overlap: int) -> int:
    """How many tiles an image of this size takes."""
    check(tile, overlap)
    return len(starts(height, tile, overlap)) * len(starts(width, tile, overlap))


def reach(net: Callable[[Tensor], Tensor], *, share: float = 0.99, size: int = 96) -> int:
    """How far a net looks in practice: the radius in input pixels that holds `share` of |d output / d input|.

    Measured at the middle pixel of a random image of `size` pixels a side. The global means of channel attention make
    the formal receptive field infinite; this is the radius that a tile's surroundings should have.
    """
    weights = net.parameters() if isinstance(net, nn.Module) else iter(())
    device = next((weight.device for weight in weights), torch.device("cpu"))
    low = torch.rand(1, 3, size, size, generator=seeds.generator(0, "reach")).to(device).requires_grad_()
    restored = net(low)  # not clipped: a clipped pixel has no slope
    middle = restored.shape[-1] // 2
    (slope,) = torch.autograd.grad(restored[..., middle, middle].sum(), low)
    distance = (torch.arange(size) - size // 2).abs()
    ring = torch.maximum(distance[:, None], distance[None, :]).flatten()
    mass = torch.zeros(size // 2 + 1, dtype=torch.float64)
    mass.index_add_(0, ring, slope.cpu().abs().sum(dim=(0, 1)).flatten().double())
    return int((mass.cumsum(0) < share * mass.sum()).sum())


def overlap_for(net: Callable[[Tensor], Tensor], tile: int) -> int:
    """Pixels that tiles should share on each side: twice the net's reach, for `bands` fades over half of them."""
    return min(max(2 * reach(net), 16), tile // 4)


def check(tile: int, overlap: int) -> None:
    """Raise FoundryError unless a tile of this size has room for its overlaps."""
    if overlap < 0 or tile <= 2 * overlap:
        raise FoundryError(
            f"a tile must be larger than twice its overlap, got tile {tile} and overlap {overlap}; "
            f"use a tile of at least {4 * max(overlap, 4)}"
        )


def _check_size(piece: Tensor, channels: int, height: int, width: int) -> None:
    if tuple(piece.shape) != (1, channels, height, width):
        raise FoundryError(
            f"a model must return {(1, channels, height, width)} for this tile, got {tuple(piece.shape)}; "
            "take one that enlarges by itself (MZSR is for 'srfoundry restore')"
        )

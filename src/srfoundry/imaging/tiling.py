"""Tiles: run an image function over an image of any size with bounded memory and without visible seams.

A net with channel attention takes global means, so two neighbouring tiles never agree exactly and a hard cut between
them would show as a line. Neighbours are therefore cross-faded. A tile's outermost pixels lack their surroundings;
they only give context to the others and have weight zero in the result. For a net that sees no further than its
overlap the result thus equals that of the whole image.

Tiles are fitted to the image: of all grids whose tiles are no larger than is allowed, the one that computes fewest
pixels. NumPy alone, so that a program that runs an exported model starts at once; tensors: tensor_tiles.py.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from srfoundry.core.errors import FoundryError
from srfoundry.imaging import levels

Upscale = Callable[[Float[np.ndarray, "1 c h w"]], Float[np.ndarray, "1 c H W"]]
Progress = Callable[[int, int], None]

SLIMMEST = 4  # times its share that a tile's side may be larger or smaller where that spares pixels


@dataclasses.dataclass(frozen=True)
class Grid:
    """Equal tiles that cover an image: their first rows and columns, their size, and what each reaches into others."""

    rows: list[int]
    columns: list[int]
    tall: int
    wide: int
    overlap: int

    @property
    def count(self) -> int:
        """How many tiles there are."""
        return len(self.rows) * len(self.columns)

    @property
    def computed(self) -> int:
        """Input pixels that are run, those in several tiles several times."""
        return self.count * self.tall * self.wide


@runtime_checkable  # for the shape checks of the tests
class Arrays(Protocol):
    """What the result is built of: NumPy's arrays, or tensors on a device."""

    def zeros(self, *shape: int) -> Any: ...

    def weights(self, values: Float[np.ndarray, "h w"]) -> Any: ...


def fit(height: int, width: int, tile: int, overlap: int) -> Grid:
    """The grid for an image of this size that computes fewest pixels, with tiles of no more than `tile` squared.

    Neighbours share at least 2 * overlap pixels: each reaches `overlap` pixels beyond their common border.

    Args:
        height, width: pixels of the image.
        tile: side of the square that is the most that may run at once, pixels; a tile may be longer and slimmer.
        overlap: pixels.

    Raises:
        FoundryError: the tile has no room for its overlaps.
    """
    rows, columns, tall, wide = _fitted(height, width, tile, overlap)
    return Grid(_starts(height, tall, rows), _starts(width, wide, columns), tall, wide, overlap)


def weights(first: list[int], side: int, overlap: int, scale: int) -> list[Float[np.ndarray, " n"]]:
    """Blending weight of each tile along one axis, per output pixel of the tile; over all tiles they sum to one.

    Tile i weighs rise_i - rise_(i+1), where rise_i climbs linearly from 0 to 1 inside the pixels that tiles i-1 and i
    share, leaving overlap // 2 input pixels at either end as context; the sum telescopes to one.
    """
    centres = (np.arange(side * scale) + 0.5) / scale
    context = overlap // 2

    def rise(index: int, position: np.ndarray) -> np.ndarray:
        if index == 0:
            return np.ones_like(position)
        if index == len(first):
            return np.zeros_like(position)
        begin, end = first[index] + context, first[index - 1] + side - context
        return ((position - begin) / max(end - begin, 1e-6)).clip(0, 1)

    return [(rise(i, s + centres) - rise(i + 1, s + centres)).astype(np.float32) for i, s in enumerate(first)]


def blended(
    upscale: Callable[[slice, slice], Any],
    grid: Grid,
    scale: int,
    channels: int,
    *,
    arrays: Arrays,
    progress: Progress | None = None,
) -> Iterator[Any]:
    """The enlarged image as finished bands of rows (1, channels, rows, W), from the top down.

    No more than two rows of tiles are held. Tiles are added in a fixed order: the result is the same each time.

    Args:
        upscale: the enlarged tile of these rows and columns.
        grid: of `fit`.
        scale: the enlargement.
        channels: of the result.
        arrays: where the bands are built.
        progress: called with (tiles done, tiles in all).

    Raises:
        FoundryError: `upscale` returns another size.
    """
    rows, columns, tall, wide = grid.rows, grid.columns, grid.tall, grid.wide
    row_weights = weights(rows, tall, grid.overlap, scale)
    column_weights = weights(columns, wide, grid.overlap, scale)
    begun = None
    for i, top in enumerate(rows):
        held = arrays.zeros(1, channels, tall * scale, (columns[-1] + wide) * scale)
        if begun is not None:
            held[:, :, : begun.shape[2]] = begun
        for j, left in enumerate(columns):
            piece = upscale(slice(top, top + tall), slice(left, left + wide))
            _check_size(piece, channels, tall * scale, wide * scale)
            if grid.count > 1:
                piece = piece * arrays.weights(row_weights[i][:, None] * column_weights[j][None, :])
            held[..., left * scale : (left + wide) * scale] += piece
            if progress is not None:
                progress(i * len(columns) + j + 1, grid.count)
        finished = ((rows[i + 1] if i + 1 < len(rows) else top + tall) - top) * scale
        yield held[:, :, :finished]
        begun = held[:, :, finished:]


def tiled(
    upscale: Upscale,
    low: Float[np.ndarray, "1 c h w"],
    scale: int,
    *,
    tile: int,
    overlap: int,
    progress: Progress | None = None,
) -> Float[np.ndarray, "1 c H W"]:
    """The whole enlarged image as floats.

    >>> tiled(lambda x: x.repeat(2, 2).repeat(2, 3), low, 2, tile=64, overlap=8)

    Args:
        upscale: maps (1, c, h, w) to (1, c, scale h, scale w).
        low: any range.
        scale: the enlargement.
        tile: side of the square that is the most that `upscale` sees at once, input pixels.
        overlap: input pixels that each tile reaches into its neighbours.
        progress: called with (tiles done, tiles in all).

    Raises:
        FoundryError: the tile has no room for its overlaps, or `upscale` returns another size.
    """

    def run(rows: slice, columns: slice) -> np.ndarray:
        return upscale(np.ascontiguousarray(low[..., rows, columns]))

    grid = fit(low.shape[2], low.shape[3], tile, overlap)
    bands = blended(run, grid, scale, low.shape[1], arrays=_Plain(), progress=progress)
    return np.concatenate(list(bands), axis=2)


def tiled_uint8(
    upscale: Upscale,
    pixels: UInt8[np.ndarray, "h w 3"],
    scale: int,
    *,
    tile: int,
    overlap: int,
    progress: Progress | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """As `tiled`, from 8 bits to 8 bits: 3 bytes a pixel and two rows of tiles are all that is held."""

    def run(rows: slice, columns: slice) -> np.ndarray:
        return upscale(levels.to_floats(pixels[rows, columns]))

    grid = fit(pixels.shape[0], pixels.shape[1], tile, overlap)
    return assembled_uint8(run, grid, pixels.shape[:2], scale, progress=progress)


def assembled_uint8(
    upscale: Callable[[slice, slice], Any],
    grid: Grid,
    size: tuple[int, ...],
    scale: int,
    *,
    progress: Progress | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """As `tiled_uint8`, of tiles that come from anywhere.

    Args:
        upscale: the enlarged tile of these rows and columns; they are asked for row by row.
        grid: of `fit`.
        size: height and width of the image that is enlarged.
        scale: the enlargement.
        progress: called with (tiles done, tiles in all).
    """
    result = np.empty((size[0] * scale, size[1] * scale, 3), np.uint8)
    row = 0
    for band in blended(upscale, grid, scale, 3, arrays=_Plain(), progress=progress):
        result[row : row + band.shape[2]] = levels.to_levels(band)
        row += band.shape[2]
    return result


def count(height: int, width: int, tile: int, overlap: int) -> int:
    """How many tiles an image of this size takes; none for one that has no pixels."""
    if not height or not width:
        return 0
    rows, columns, _, _ = _fitted(height, width, tile, overlap)
    return rows * columns


def check(tile: int, overlap: int) -> None:
    """Raise FoundryError unless a tile of this size has room for its overlaps."""
    if overlap < 0 or tile <= 2 * overlap:
        raise FoundryError(
            f"a tile must be larger than twice its overlap, got tile {tile} and overlap {overlap}; "
            f"use a tile of at least {4 * max(overlap, 4)}"
        )


class _Plain:
    def zeros(self, *shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32)

    def weights(self, values: np.ndarray) -> np.ndarray:
        return values


def _fitted(height: int, width: int, tile: int, overlap: int) -> tuple[int, int, int, int]:
    """Rows, columns, height and width of the tiles of `fit`.

    A server asks this of every header that comes, however tall the image is: no candidate holds more than its numbers.
    """
    check(tile, overlap)
    found: list[tuple[int, ...]] = []
    most = min(SLIMMEST * math.ceil(max(height - 2 * overlap, 1) / (tile - 2 * overlap)), height)
    for rows in _counts(height, most, overlap):
        tall = _side(height, rows, overlap)
        room = min(tile * tile // tall, SLIMMEST * tile)
        if tall > SLIMMEST * tile or (room < width and room <= 2 * overlap):
            continue
        columns = 1 if room >= width else math.ceil((width - 2 * overlap) / (room - 2 * overlap))
        wide = _side(width, columns, overlap)
        found.append((rows * columns * tall * wide, rows * columns, rows, columns, tall, wide))
    _, _, rows, columns, tall, wide = min(found)
    return rows, columns, tall, wide


def _counts(extent: int, most: int, overlap: int) -> Iterator[int]:
    """Counts of tiles, up to `most`, at which their side gets smaller; more of one side only compute more."""
    own = max(extent - 2 * overlap, 1)
    count = 1
    while count <= most:
        yield count
        share = math.ceil(own / count)
        if share == 1:
            return
        count = math.ceil(own / (share - 1))


def _side(extent: int, count: int, overlap: int) -> int:
    """Pixels of each of `count` equal tiles that cover `extent` and share twice the overlap."""
    return min(math.ceil((extent + (count - 1) * 2 * overlap) / count), extent)


def _starts(extent: int, side: int, count: int) -> list[int]:
    return [(extent - side) * index // max(count - 1, 1) for index in range(count)]


def _check_size(piece: Any, channels: int, height: int, width: int) -> None:
    if tuple(piece.shape) != (1, channels, height, width):
        raise FoundryError(
            f"a model must return {(1, channels, height, width)} for this tile, got {tuple(piece.shape)}; "
            "take one that enlarges by itself (MZSR is for 'srfoundry restore')"
        )

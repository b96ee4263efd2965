"""Whether pixels were a JPEG once, and of which quality: from the file's own tables, or from the pixels alone.

A PNG made of a JPEG, and a JPEG that was saved once more, keep the marks: the DCT of its 8x8 blocks, wherever their
grid lies now, is near multiples of the steps it was quantised with (Fan and de Queiroz, IEEE TIP 2003). Resizing
removes them.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from numpy.lib.stride_tricks import sliding_window_view

LUMA = (0.299, 0.587, 0.114)  # JPEG's Y: ITU-R BT.601
BLOCK = 8  # pixels of a block's side
# ITU-T T.81, table K.1, row by row: what libjpeg quantises luminance with at quality 50
TABLE = np.array(
    [
        *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
        *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
        *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
        *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
    ],
    np.float64,
)
_TIMES, _PLACES = np.arange(BLOCK)[:, None], np.arange(BLOCK)[None]
COSINES = np.where(_TIMES == 0, 1, np.sqrt(2)) * np.cos((2 * _PLACES + 1) * _TIMES * np.pi / 16) / np.sqrt(BLOCK)
LOW = [index for index in range(1, BLOCK**2) if index // BLOCK + index % BLOCK <= 4]  # that hold what is not zero
FINEST = np.einsum("ui,vj->uvij", COSINES, COSINES).reshape(BLOCK**2, BLOCK**2)[
    [index for index in range(BLOCK**2) if index // BLOCK + index % BLOCK >= 6]
]
SILENT = 0.75  # levels that rounding of pixels leaves of a coefficient that was zero
STANDS_OUT = 0.1  # of the share of such coefficients on the grid: over 0.26 at quality 95, 0.03 without a JPEG
WAVES = np.einsum("ui,vj->uvij", COSINES, COSINES).reshape(BLOCK**2, BLOCK**2)[LOW]
COARSE = (30, 40, 50, 60, 70, 75, 80, 85, 90)  # qualities by which the grid is found
FINE = range(20, 94, 2)  # above, the steps are not much wider than the rounding of pixels
BLOCKS = 250  # busy ones by which the grid is found
LEAST = 0.4  # mean cosine of a match; by chance it is 0.1, of a JPEG of quality 92 about 0.6, of one of 75 above 0.9
# Part of the match on the grid that any other offset has at most: of thumbnails that were JPEGs of quality 20 to 92
# (BSD400 and T91) 0.32, of gradients and lines every eighth pixel all of it. One that was two files has two grids.
BESIDE = 0.9
FAINT = (93, 94, 95)  # qualities of which only the wider steps leave marks, and these are
WIDE = 2.0  # steps of theirs that are looked at
LEAST_FAINT = 0.25  # mean cosine of these: of what was no JPEG 0.14 at most, of theirs 0.35 or more (BSD400)
FEWEST = 30  # coefficients of a mean


def quality_of(tables: Mapping[int, Sequence[int]]) -> int:
    """The quality, 1 to 100, at which libjpeg would come nearest to the quantisation of luminance of a file.

    Args:
        tables: by number, 64 steps each, row by row, as Pillow's `quantization` has them; the first is luminance's.
    """
    table = np.asarray(tables[min(tables)], np.float64)
    return min(range(1, 101), key=lambda quality: float(np.abs(steps(quality) - table).sum()))


def quality_seen(windows: Sequence[Float[np.ndarray, "h w"]]) -> int | None:
    """The quality of the JPEG that these pixels were once, 20 to 92 in steps of 2; None where there is no trace of it.

    The grid is where busy blocks match any quality best; the quality is the lowest that matches as well as the best
    does, since halves of a step match where the step itself does. Gradients and fine patterns match by chance, wherever
    a grid is put: they were no JPEG.

    Args:
        windows: of one image's luminance, range [0, 255]; their grids are the same, so their places differ by multiples
            of 8.
    """
    busy = _busiest(windows)
    matches = _matches_on_grid(windows, busy, COARSE, FINE)
    best = max(matches, default=0.0)
    if best < LEAST:
        return None
    quality = next(q for q, match in zip(FINE, matches, strict=True) if match >= 0.9 * best)
    *_, second, first = sorted(_matches_everywhere(busy, [quality]))
    return quality if second < BESIDE * first else None


def slight_trace(windows: Sequence[Float[np.ndarray, "h w"]]) -> bool:
    """Whether these pixels were a JPEG of high quality, about 90 to 96, whose steps `quality_seen` does not find.

    On the blocks' grid most of the finest frequencies were rounded to nothing, beside it they are not.

    Args:
        windows: as `quality_seen` takes them.
    """
    silent = np.zeros((BLOCK, BLOCK))
    kept = [window for window in windows if min(window.shape) >= 4 * BLOCK]
    for window in kept:
        tall, wide = (extent // BLOCK * BLOCK for extent in (window.shape[0] - BLOCK + 1, window.shape[1] - BLOCK + 1))
        for down, across in np.ndindex(BLOCK, BLOCK):
            fine = _cut(window[down : down + tall, across : across + wide]).reshape(-1, BLOCK**2) @ FINEST.T
            silent[down, across] += (np.abs(fine) < SILENT).mean() / len(kept)
    order = np.sort(silent, axis=None)
    return bool(order[-1] - np.median(order) > STANDS_OUT and order[-1] - order[-2] > STANDS_OUT / 2)


def faint_quality_seen(windows: Sequence[Float[np.ndarray, "h w"]]) -> int | None:
    """The quality, 93 to 95, of a JPEG of which `quality_seen` finds no trace; None where there is none either.

    Args:
        windows: as there.
    """
    matches = _matches_on_grid(windows, _busiest(windows), FAINT, FAINT, WIDE)
    return None if max(matches, default=0.0) < LEAST_FAINT else FAINT[int(np.argmax(matches))]


def steps(quality: int) -> Float[np.ndarray, " 64"]:
    """What libjpeg quantises luminance with at this quality, 1 to 100."""
    percent = 5000 / quality if quality < 50 else 200 - 2 * quality
    return np.clip(np.floor((TABLE * percent + 50) / 100), 1, 255)


def _matches_on_grid(
    windows: Sequence[np.ndarray],
    busy: Float[np.ndarray, "n 15 15"],
    coarse: Sequence[int],
    fine: Sequence[int],
    least: float = 0.0,
) -> list[float]:
    """The matches of `fine` qualities on the grid where busy blocks match one of the `coarse` best."""
    if not len(busy):
        return []
    down, across = divmod(int(np.argmax(_matches_everywhere(busy, coarse, least))), BLOCK)
    blocks = np.concatenate([_cut(window[down:, across:]) for window in windows])
    return _matches(_frequencies(blocks), fine, least)


def _matches_everywhere(
    busy: Float[np.ndarray, "n 15 15"], qualities: Sequence[int], least: float = 0.0
) -> list[float]:
    """The best match of these qualities at each offset of the grid, row by row."""
    return [
        max(_matches(_frequencies(busy[:, down : down + BLOCK, across : across + BLOCK]), qualities, least))
        for down, across in np.ndindex(BLOCK, BLOCK)
    ]


def _busiest(windows: Sequence[np.ndarray]) -> Float[np.ndarray, "n 15 15"]:
    """Blocks with room for every offset of the grid; of each window's, even ones of the busier two thirds."""
    side, found = 2 * BLOCK - 1, [np.empty((0, 2 * BLOCK - 1, 2 * BLOCK - 1))]
    for window in windows:
        if min(window.shape) < side:
            continue
        parts = sliding_window_view(window, (side, side))[::BLOCK, ::BLOCK].reshape(-1, side, side)
        order = np.argsort(-parts.std((1, 2)), kind="stable")[: max(4, 2 * len(parts) // 3)]
        found.append(parts[order[:: max(1, len(order) * len(windows) // BLOCKS)]])
    return np.concatenate(found)


def _cut(window: np.ndarray) -> Float[np.ndarray, "n 8 8"]:
    down, across = window.shape[0] // BLOCK, window.shape[1] // BLOCK
    parts = window[: down * BLOCK, : across * BLOCK].reshape(down, BLOCK, across, BLOCK)
    return parts.transpose(0, 2, 1, 3).reshape(-1, BLOCK, BLOCK)


def _frequencies(blocks: Float[np.ndarray, "n 8 8"]) -> Float[np.ndarray, "n k"]:
    return blocks.reshape(len(blocks), -1) @ WAVES.T


def _matches(found: Float[np.ndarray, "n k"], qualities: Sequence[int], least: float = 0.0) -> list[float]:
    """How near the coefficients that are not zero are to multiples of each quality's steps: 1 all, 0 as by chance.

    Of steps below `least` nothing is looked at.
    """
    matches = []
    for quality in qualities:
        each = steps(quality)[LOW]
        turns = found[:, each >= least] / each[each >= least]
        turns = turns[np.abs(turns) > 0.6]
        matches.append(float(np.cos(2 * np.pi * turns).sum()) / max(len(turns), FEWEST))
    return matches

"""What a photograph has gone through before it came: how it was compressed, how noisy and how blurred it is.

NumPy alone, on windows of a large image: a small part of the time that its enlargement takes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from numpy.lib.stride_tricks import sliding_window_view

from srfoundry.imaging import jpeg_history

LUMA = np.array(jpeg_history.LUMA)
WINDOW = 160  # pixels of a window's side
ACROSS = 3  # windows along a side of the image
AREA = 16  # pixels of a side of the areas whose noise is looked at
SMOOTHEST = 20  # one in so many areas shows the noise
TEXTURE = 0.7  # most of what texture leaves of its gradients in second differences, of noise all is left (see noise)
DARKEST, LIGHTEST = 10, 245  # means of areas that are not cut off at black or white
REBLUR = 0.7  # pixels, deviation of the Gaussian by which edges are blurred once more
STEEPEST = 0.02  # share of the pixels that are edges
PATCH = 32  # pixels of a side of the patches whose spectra are averaged
COARSE, FINE = (0.15, 0.22), (0.38, 0.46)  # cycles a pixel: from least to most of the bands that are compared
SHARPEST = 5  # percent of the edges that are sharper than what is taken for the image's blur


@dataclass(frozen=True)
class Damage:
    """What was measured.

    Attributes:
        quality: of the worst JPEG compression, 1 to 100; None where there is no trace of any.
        noise: standard deviation of the luminance's, of 255.
        blur: deviation of a Gaussian, pixels, with which the sharper edges are as wide as they are; MATLAB's bicubic
            reduction of a sharp photograph leaves 0.35.
        falloff: dB of the spectrum from its middle to its end; of the same 8 to 13, of what was blurred more.
    """

    quality: int | None
    noise: float
    blur: float
    falloff: float


def damage(pixels: UInt8[np.ndarray, "h w 3"], tables: Mapping[int, Sequence[int]] | None = None) -> Damage:
    """Measure an image.

    Args:
        pixels: of it.
        tables: the quantisation tables of its file, if that is a JPEG (`jpeg_history.quality_of`).
    """
    windows = [part @ LUMA for part in _windows(pixels)]
    qualities = [jpeg_history.quality_seen(windows), jpeg_history.quality_of(tables) if tables else None]
    found = [quality for quality in qualities if quality is not None]
    return Damage(min(found, default=None), noise(windows), blur(windows), falloff(windows))


def noise(windows: Sequence[Float[np.ndarray, "h w"]]) -> float:
    """Standard deviation of white noise, in the range of the windows.

    The mean absolute response to Immerkaer's mask (CVIU 1996), which is blind to constants, ramps and edges along the
    axes, in the smoothest areas of 16 x 16 pixels; there the rest of the texture is taken off. Of white noise the mask
    leaves as much as the differences of neighbours do, each in units of its own gain; of texture, whose spectrum falls,
    TEXTURE of it at most. So n^2 + t^2 = g^2 and n^2 + (TEXTURE t)^2 = m^2, with n the noise, t the texture's and g all
    differences, m the mask's response.

    Args:
        windows: of one image's luminance, range [0, 255].
    """
    found = np.concatenate([_areas(window) for window in windows])
    if not len(found):
        return 0.0
    order = np.argsort(found[:, 0], kind="stable")[: math.ceil(len(found) / SMOOTHEST)]
    differences, masked = found[order].mean(0)
    return math.sqrt(max(0.0, (masked**2 - (TEXTURE * differences) ** 2) / (1 - TEXTURE**2)))


def blur(windows: Sequence[Float[np.ndarray, "h w"]]) -> float:
    """Deviation, in pixels, of the Gaussian that an ideal step must be blurred with to be as wide as the sharper edges.

    An edge that is blurred once more by a Gaussian of deviation s0 loses the more of its steepest gradient the sharper
    it was: gradients' ratio R = sqrt(s^2 + s0^2) / s (Zhuo and Sim, Pattern Recognition 2011, eq. 6 and 7). The
    width of pixels and of their differences counts, too: a perfect step has 0.75, lines and corners less.

    Args:
        windows: of one image's luminance.

    Returns:
        0 where there is no edge.
    """
    reach = round(3 * REBLUR)
    kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * REBLUR**2))
    kernel /= kernel.sum()
    kept = [window for window in windows if min(window.shape) > 2 * reach + 2]
    pairs = [(_gradient(each)[reach:-reach, reach:-reach], _gradient(_blurred(each, kernel))) for each in kept]
    if not pairs:
        return 0.0
    before, after = (np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1))
    edges = (before >= np.quantile(before, 1 - STEEPEST)) & (before > 1)
    if not edges.any():
        return 0.0
    ratio = np.maximum(before[edges] / np.maximum(after[edges], 1e-6), 1.0001)
    return float(np.percentile(REBLUR / np.sqrt(ratio**2 - 1), SHARPEST))


def falloff(windows: Sequence[Float[np.ndarray, "h w"]]) -> float:
    """How far the spectrum falls from COARSE to FINE, dB of power; 1 / f^2, as of scenes (Field 1987), is 7.

    What an out-of-focus photograph has left of fine detail, its grain at least, blur after the fact takes away.

    Args:
        windows: of one image's luminance.

    Returns:
        0 where the windows are too small, or flat.
    """
    taper = np.hanning(PATCH)
    power, rows = np.zeros((PATCH, PATCH // 2 + 1)), np.fft.fftfreq(PATCH)[:, None]
    for window in windows:
        if min(window.shape) >= PATCH:
            patches = sliding_window_view(window, (PATCH, PATCH))[:: PATCH // 2, :: PATCH // 2]
            level = patches - patches.mean((2, 3), keepdims=True)
            power += (np.abs(np.fft.rfft2(level * taper[:, None] * taper)) ** 2).sum((0, 1))
    frequency = np.hypot(rows, np.fft.rfftfreq(PATCH))
    coarse, fine = (power[(frequency >= least) & (frequency < most)].mean() for least, most in (COARSE, FINE))
    return float(10 * np.log10(coarse / fine)) if fine > 0 else 0.0


def _windows(pixels: np.ndarray) -> list[np.ndarray]:
    """Parts that are looked at, on one grid of JPEG's blocks: evenly spread ones, or all along a short side."""
    rows, columns = (_starts(extent) for extent in pixels.shape[:2])
    return [pixels[rows_from:rows_to, left:right] for rows_from, rows_to in rows for left, right in columns]


def _starts(extent: int) -> list[tuple[int, int]]:
    if extent <= WINDOW * ACROSS:
        return [(0, extent)]
    block = jpeg_history.BLOCK
    begins = [index * (extent - WINDOW) // (ACROSS - 1) // block * block for index in range(ACROSS)]
    return [(begin, begin + WINDOW) for begin in begins]


def _areas(window: np.ndarray) -> Float[np.ndarray, "n 2"]:
    """For each area that is neither black nor white: deviations from the differences of neighbours, and by the mask."""
    across = window[1:-1, 2:] - window[1:-1, 1:-1]
    down = window[2:, 1:-1] - window[1:-1, 1:-1]
    bent = window[:-2] - 2 * window[1:-1] + window[2:]
    masked = bent[:, :-2] - 2 * bent[:, 1:-1] + bent[:, 2:]
    gauss = math.sqrt(math.pi / 2)  # deviation over mean absolute value
    differences = np.maximum(_means(np.abs(across)), _means(np.abs(down))) * gauss / math.sqrt(2)
    levels = _means(window[1:-1, 1:-1])
    whole = (levels > DARKEST) & (levels < LIGHTEST)
    return np.stack([differences, _means(np.abs(masked)) * gauss / 6], axis=-1)[whole]


def _means(values: np.ndarray) -> Float[np.ndarray, "p q"]:
    down, across = values.shape[0] // AREA, values.shape[1] // AREA
    return values[: down * AREA, : across * AREA].reshape(down, AREA, across, AREA).mean((1, 3))


def _blurred(window: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    height, width = (extent - len(kernel) + 1 for extent in window.shape)
    tall = np.asarray(sum(weight * window[row : row + height] for row, weight in enumerate(kernel)))
    return np.asarray(sum(weight * tall[:, column : column + width] for column, weight in enumerate(kernel)))


def _gradient(window: np.ndarray) -> np.ndarray:
    down = window[2:, 1:-1] - window[:-2, 1:-1]
    across = window[1:-1, 2:] - window[1:-1, :-2]
    return np.hypot(down, across) / 2

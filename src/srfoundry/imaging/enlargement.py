"""MATLAB's bicubic enlargement of one band of 8 bits in NumPy, as `resize.cubic` does it in PyTorch: for alpha."""

import numpy as np
from jaxtyping import Float, UInt8

BEYOND = 3  # pixels that the taps reach beyond either edge, where the band is mirrored
ROWS = 128  # of the band at once: memory stays a small part of the photograph's


def cubic(band: UInt8[np.ndarray, "h w"], scale: int) -> UInt8[np.ndarray, "H W"]:
    """Enlarge by a whole number, Keys' kernel with a = -0.5; rounded half up once, at the end.

    Args:
        band: levels 0 to 255.
        scale: 1 or more.
    """
    height, width = band.shape
    taps = [_taps(phase, scale) for phase in range(scale)]
    padded = np.pad(band, BEYOND, mode="symmetric")
    result = np.empty((height * scale, width * scale), np.uint8)
    for top in range(0, height, ROWS):
        rows = min(ROWS, height - top)
        block = padded[top : top + rows + 2 * BEYOND].astype(np.float64)
        tall = np.empty((rows, scale, width + 2 * BEYOND))
        wide = np.empty((rows * scale, width, scale))
        for phase, (first, weights) in enumerate(taps):
            tall[:, phase] = sum(weight * block[first + tap :][:rows] for tap, weight in enumerate(weights))
        for phase, (first, weights) in enumerate(taps):
            lines = tall.reshape(rows * scale, -1)
            wide[..., phase] = sum(weight * lines[:, first + tap :][:, :width] for tap, weight in enumerate(weights))
        levels = np.floor(wide.reshape(rows * scale, -1) + 0.5).clip(0, 255)
        result[top * scale : (top + rows) * scale] = levels
    return result


def _taps(phase: int, scale: int) -> tuple[int, Float[np.ndarray, " 4"]]:
    """Where the four pixels begin, counted in the padded band from the pixel's own place, and their weights."""
    centre = (phase + 0.5) / scale - 0.5
    first = int(np.floor(centre)) - 1
    distance = np.abs(centre - first - np.arange(4))
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return first + BEYOND, np.where(distance <= 1, near, far)

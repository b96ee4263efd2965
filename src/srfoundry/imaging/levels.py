"""8-bit levels of a picture and floats in [0, 1], in NumPy alone: what a program that only runs a model needs."""

import numpy as np
from jaxtyping import Float, UInt8


def to_floats(pixels: UInt8[np.ndarray, "h w c"]) -> Float[np.ndarray, "1 c h w"]:
    """Turn 8-bit pixels, channels last, into floats in [0, 1], as `images.from_uint8` does."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32) / np.float32(255)


def to_levels(image: Float[np.ndarray, "1 c h w"]) -> UInt8[np.ndarray, "h w c"]:
    """Round [0, 1] to 8 bits, half up, as `images.to_uint8` does; channels last."""
    levels = np.floor(image[0].clip(0, 1).astype(np.float64) * 255 + 0.5)
    return np.ascontiguousarray(levels.astype(np.uint8).transpose(1, 2, 0))

"""Photographs of known damage: those of scikit-image reduced to half, and what may befall them."""

import io
from functools import cache

import numpy as np
from PIL import Image, ImageFilter

from srfoundry.imaging import images

NAMES = ("astronaut", "chelsea", "coffee", "motorcycle_left", "rocket")


@cache
def clean(name: str) -> Image.Image:
    """A photograph at half its size, bicubically, at most 256 pixels a side."""
    path = next(path for path in images.bundled() if path.stem == name)
    with Image.open(path) as opened:
        sharp = opened.convert("RGB").crop((0, 0, min(opened.width, 512), min(opened.height, 512)))
    return sharp.resize((sharp.width // 2, sharp.height // 2), Image.Resampling.BICUBIC)


def packed(image: Image.Image, quality: int) -> Image.Image:
    """What JPEG leaves of it, as pixels without a file."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def blurred(image: Image.Image, deviation: float) -> Image.Image:
    """Blurred by a Gaussian of this deviation in pixels."""
    return image.filter(ImageFilter.GaussianBlur(deviation))


def noisy(image: Image.Image, deviation: float) -> Image.Image:
    """With white noise in all colours, of 255."""
    noise = np.random.default_rng(0).normal(0, deviation, (image.height, image.width, 3))
    return Image.fromarray((np.asarray(image) + noise).round().clip(0, 255).astype(np.uint8))

"""A photograph as a user hands it over and wants it back: RGB for the nets, and beside it what RGB drops.

`images.read` turns every file into RGB. A program for people must give transparency back, keep a grey photograph grey
and pass on its colour profile, date and camera; that is all this file adds.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from srfoundry.core.atomic import replacing
from srfoundry.core.errors import FoundryError, NoRoom, is_out_of_room
from srfoundry.imaging import decoding, enlargement, formats, jpeg_history, untrusted


@dataclasses.dataclass(frozen=True)
class Handling:
    """How a person wants files to be read and written.

    Attributes:
        quality: of JPEG and WebP, 1 to 100; 100 writes WebP without loss.
        largest: pixels of an image that is read.
    """

    quality: int = formats.QUALITY
    largest: int = untrusted.LARGEST


USUAL = Handling()


@dataclasses.dataclass(frozen=True)
class Photograph:
    """Pixels of 8 bits with their alpha (None where the file has none), whether it is grey, and what else it says.

    Attributes:
        pixels: where alpha is 0, the colours of what is visible nearby: the hidden ones would shine through at the rim.
        alpha: of each pixel.
        grey: whether it is.
        metadata: as `decoding.decode` gives it.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    alpha: UInt8[np.ndarray, "h w"] | None
    grey: bool
    metadata: Mapping[str, Any]

    @property
    def quality(self) -> int | None:
        """Of the JPEG that its file is, 1 to 100, or that errs as much on blurred photographs; None of other files."""
        tables = self.metadata.get("quantization")
        return jpeg_history.quality_of(tables) if tables else self.metadata.get("quality_alike")

    def remarks(self, name: object) -> list[str]:
        """What a person should know of how its file was read.

        Args:
            name: of the file.
        """
        return [f"{name} holds several pictures: the first is used"] if self.metadata.get("several") else []


def read(path: Path, how: Handling = USUAL) -> Photograph:
    """Read a file of any kind that `images.read` reads; FoundryError where that one raises it."""
    return of(decoding.decode(path, how.largest))


def of(picture: Image.Image) -> Photograph:
    """A decoded picture of mode L, LA, RGB or RGBA."""
    alpha = np.array(picture.getchannel("A")) if "A" in picture.getbands() else None
    pixels = np.array(picture.convert("RGB"))
    if alpha is not None and alpha.any() and not alpha.all():
        pixels = _revealed(pixels, alpha)
    return Photograph(
        pixels, alpha, picture.mode in ("L", "LA"), {str(key): value for key, value in picture.info.items()}
    )


def write(pixels: UInt8[np.ndarray, "H W 3"], original: Photograph, path: Path, how: Handling = USUAL) -> None:
    """Write an enlarged 8-bit image with the original's alpha (enlarged bicubically), greyness and metadata.

    Raises:
        NoRoom: the disk is full.
        FoundryError: the format that the suffix of `path` names is unknown, or cannot hold it.
    """
    check_target(original, path, pixels.shape[0] // original.pixels.shape[0])
    picture = formats.shown_as_before(_coloured(pixels, original), path, original.metadata)
    if formats.format_of(path) not in formats.OPAQUE:
        _make_clear(picture, original)
    options = formats.options(path, quality=how.quality, metadata=original.metadata)
    try:
        with replacing(path) as partial:
            formats.save(picture, partial, options)
    except (OSError, ValueError, KeyError) as error:
        kind = NoRoom if is_out_of_room(error) else FoundryError
        raise kind(f"cannot write {path}: {error}; name a .png file where there is room") from None


def picture(pixels: UInt8[np.ndarray, "H W 3"], original: Photograph) -> Image.Image:
    """An enlarged 8-bit image with the original's alpha and greyness, as `write` writes it into a PNG.

    `info` holds the colour profile, EXIF block and resolution, which Pillow's `save` writes where the format has them.
    """
    made = _coloured(pixels, original)
    _make_clear(made, original)
    made.info |= {key: original.metadata[key] for key in ("icc_profile", "exif", "dpi") if key in original.metadata}
    return made


def check_target(original: Photograph, path: Path, scale: int = 1) -> None:
    """Raise FoundryError where `write` could not write this photograph, so that no work is done in vain.

    Args:
        original: as it was read.
        path: of the result.
        scale: by which it is enlarged.
    """
    height, width = original.pixels.shape[:2]
    formats.check_size(path, height * scale, width * scale)
    if original.alpha is not None and formats.format_of(path) in formats.OPAQUE and not (original.alpha == 255).all():
        raise FoundryError(f"cannot write {path}: the image has transparency and that format has none; end it in .png")


def size(path: Path, how: Handling = USUAL) -> tuple[int, int]:
    """Height and width from the file's header, (0, 0) where it cannot be read; a rotated one may come transposed."""
    try:
        return decoding.size(path, how.largest)
    except FoundryError:
        return 0, 0


def _coloured(pixels: UInt8[np.ndarray, "H W 3"], original: Photograph) -> Image.Image:
    whole = Image.fromarray(pixels)
    return whole.convert("L") if original.grey else whole


def _make_clear(enlarged: Image.Image, original: Photograph) -> None:
    """Give it the original's alpha, enlarged bicubically; in place."""
    if original.alpha is not None:
        scale = enlarged.height // original.alpha.shape[0]
        enlarged.putalpha(Image.fromarray(enlargement.cubic(original.alpha, scale)))


def _revealed(pixels: UInt8[np.ndarray, "h w 3"], alpha: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Give pixels of alpha 0 the colour of what is visible nearby, weighted by its alpha."""
    weight = alpha[..., None] / np.float32(255)
    return np.floor(_filled(pixels * weight, weight) + np.float32(0.5)).astype(np.uint8)


def _filled(colour: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted means of colour, h w 3; where there is no weight, h w 1, those of blocks of 2x2, and so on upwards."""
    height, width = weight.shape[:2]
    found = colour / np.maximum(weight, np.float32(1e-12))
    if weight.all():
        return found
    room = ((0, height % 2), (0, width % 2), (0, 0))
    colour, weight_ = np.pad(colour, room), np.pad(weight, room)
    blocks = (colour.shape[0] // 2, 2, colour.shape[1] // 2, 2, -1)
    coarse = _filled(colour.reshape(blocks).sum((1, 3)), weight_.reshape(blocks).sum((1, 3)))
    return np.where(weight > 0, found, coarse.repeat(2, 0).repeat(2, 1)[:height, :width])

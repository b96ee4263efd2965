"""A photograph as a user hands it over and wants it back: RGB for the nets, and beside it what RGB drops.

`images.read` turns every file into RGB. A program for people must give transparency back, keep a grey photograph grey
and pass the colour profile on; that is all this file adds.
"""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from srfoundry.core.errors import FoundryError
from srfoundry.imaging import images, resize


@dataclasses.dataclass(frozen=True)
class Photograph:
    """An image in [0, 1] with its alpha (None where opaque), whether it is grey, and its ICC profile."""

    image: Float[Tensor, "1 3 h w"]
    alpha: Float[Tensor, "1 1 h w"] | None
    grey: bool
    profile: bytes | None


def read(path: Path) -> Photograph:
    """Read a file of any kind that `images.read` reads; FoundryError where that one raises it."""
    picture = images.decode(path)
    alpha = None
    if "A" in picture.getbands():
        band = np.array(picture.getchannel("A"))
        alpha = images.from_uint8(torch.from_numpy(band)[None, ..., None])
    return Photograph(images.rgb(picture), alpha, picture.mode in ("L", "LA"), picture.info.get("icc_profile"))


def write(pixels: UInt8[Tensor, "1 H W 3"], original: Photograph, path: Path) -> None:
    """Write an enlarged 8-bit image with the original's alpha (enlarged bicubically), greyness and profile.

    Raises:
        FoundryError: the format that the suffix of `path` names is unknown, cannot hold alpha, or the disk is full.
    """
    check_target(original, path)
    height, width = pixels.shape[1:3]
    picture = Image.fromarray(pixels[0].numpy())
    if original.grey:
        picture = picture.convert("L")
    if original.alpha is not None:
        scale = height / original.alpha.shape[-2]
        alpha = resize.cubic(original.alpha, scale, (height, width))
        picture.putalpha(Image.fromarray(images.to_uint8(alpha)[0, ..., 0].numpy()))
    partial = path.with_name(f".partial.{path.name}")  # an interrupted run leaves no half image under the real name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(partial, icc_profile=original.profile)
        partial.replace(path)
    except (OSError, ValueError, KeyError) as error:
        partial.unlink(missing_ok=True)
        raise FoundryError(f"cannot write {path}: {error}; name a .png file where there is room") from None


def check_target(original: Photograph, path: Path) -> None:
    """Raise FoundryError where `write` could not write this photograph, so that no work is done in vain."""
    kinds = Image.registered_extensions()
    if kinds.get(path.suffix.lower()) not in Image.SAVE:
        raise FoundryError(f"cannot write {path}: its ending names no picture format; end it in .png")
    if original.alpha is not None and kinds[path.suffix.lower()] in ("JPEG", "BMP"):
        raise FoundryError(f"cannot write {path}: the image has transparency and that format has none; end it in .png")


def size(path: Path) -> tuple[int, int]:
    """Height and width from the file's header, (0, 0) where it cannot be read; a rotated one may come transposed."""
    try:
        return images.size(path)
    except FoundryError:
        return 0, 0

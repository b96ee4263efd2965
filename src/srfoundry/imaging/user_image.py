"""A photograph as a user hands it over and wants it back: RGB for the nets, and beside it what RGB drops.

`images.read` turns every file into RGB. A program for people must give transparency back, keep a grey photograph grey
and pass the colour profile on; that is all this file adds.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from srfoundry.core.atomic import replacing
from srfoundry.core.errors import FoundryError
from srfoundry.imaging import decoding

if TYPE_CHECKING:
    import torch


@dataclasses.dataclass(frozen=True)
class Photograph:
    """Pixels of 8 bits with their alpha (None where opaque), whether it is grey, and its ICC profile."""

    pixels: UInt8[np.ndarray, "h w 3"]
    alpha: UInt8[np.ndarray, "h w"] | None
    grey: bool
    profile: bytes | None

    @property
    def image(self) -> "torch.Tensor":
        """The pixels as a float tensor 1 3 h w in [0, 1]."""
        import torch

        from srfoundry.imaging import images

        return images.from_uint8(torch.from_numpy(self.pixels).unsqueeze(0))


def read(path: Path) -> Photograph:
    """Read a file of any kind that `images.read` reads; FoundryError where that one raises it."""
    picture = decoding.decode(path)
    alpha = np.array(picture.getchannel("A")) if "A" in picture.getbands() else None
    pixels = np.array(picture.convert("RGB"))
    return Photograph(pixels, alpha, picture.mode in ("L", "LA"), picture.info.get("icc_profile"))


def write(pixels: UInt8[np.ndarray, "H W 3"], original: Photograph, path: Path) -> None:
    """Write an enlarged 8-bit image with the original's alpha (enlarged bicubically), greyness and profile.

    Raises:
        FoundryError: the format that the suffix of `path` names is unknown, cannot hold alpha, or the disk is full.
    """
    check_target(original, path)
    picture = Image.fromarray(pixels)
    if original.grey:
        picture = picture.convert("L")
    if original.alpha is not None:
        picture.putalpha(Image.fromarray(_enlarged(original.alpha, pixels.shape[0], pixels.shape[1])))
    try:
        with replacing(path) as partial:
            picture.save(partial, icc_profile=original.profile)
    except (OSError, ValueError, KeyError) as error:
        raise FoundryError(f"cannot write {path}: {error}; name a .png file where there is room") from None


def check_target(original: Photograph, path: Path) -> None:
    """Raise FoundryError where `write` could not write this photograph, so that no work is done in vain."""
    check_ending(path)
    kinds = Image.registered_extensions()
    if original.alpha is not None and kinds[path.suffix.lower()] in ("JPEG", "BMP"):
        raise FoundryError(f"cannot write {path}: the image has transparency and that format has none; end it in .png")


def check_ending(path: Path) -> None:
    """Raise FoundryError where the ending of a result names no format that can be written."""
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise FoundryError(f"cannot write {path}: its ending names no picture format; end it in .png")


def size(path: Path) -> tuple[int, int]:
    """Height and width from the file's header, (0, 0) where it cannot be read; a rotated one may come transposed."""
    try:
        return decoding.size(path)
    except FoundryError:
        return 0, 0


def _enlarged(band: UInt8[np.ndarray, "h w"], height: int, width: int) -> UInt8[np.ndarray, "H W"]:
    """A band at another size, by MATLAB's bicubic; needs PyTorch, which an opaque photograph does not."""
    import torch

    from srfoundry.imaging import images, resize

    low = images.from_uint8(torch.from_numpy(band)[None, ..., None])
    high = resize.cubic(low, height / band.shape[0], (height, width))
    return images.to_uint8(high)[0, ..., 0].numpy()

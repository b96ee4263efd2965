"""The formats that pictures are written in: how well, how large, and what of a photograph's metadata they hold.

JPEG is written at quality 95 without chroma subsampling, WebP at 95, the rest without loss: what was enlarged with care
should not be spoilt at the last step (Pillow's own defaults are 75 with subsampling, and 80).
"""

import io
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from srfoundry.core.errors import FoundryError

QUALITY = 95
PNG_LEVEL = (
    4  # of zlib; Pillow's 6 takes twice the time, more than all else beside the network, to save 8 % of the bytes
)
FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jfif": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
LONGEST = {"JPEG": 65_500, "WEBP": 16_383}  # pixels of a side, in libjpeg and libwebp
OPAQUE = ("JPEG", "BMP")  # hold no transparency
SRGB = 0.45455  # what a PNG's gAMA chunk says of sRGB


def format_of(path: Path) -> str:
    """The format that a file's ending names.

    Raises:
        FoundryError: none, or one with 256 colours or the like.
    """
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        endings = ", ".join(FORMATS)
        raise FoundryError(f"cannot write {path}: its ending names no picture format of {endings}; end it in .png")
    return found


class _Whole(io.BufferedWriter):
    """A file without a number: through that, Pillow writes without looking whether the disk took all of it."""

    def fileno(self) -> int:
        """Refuse, so that Pillow hands its bytes over instead."""
        raise io.UnsupportedOperation("fileno")


def save(picture: Image.Image, path: Path, options: Mapping[str, Any]) -> None:
    """Write a file whole, or raise the OSError that says why not.

    Args:
        picture: to write.
        path: whose ending names the format.
        options: of that format, as `options` gives them.
    """
    with _Whole(io.FileIO(path, "w")) as file:
        picture.save(file, format_of(path), **options)


def check_size(path: Path, height: int, width: int) -> None:
    """Refuse a picture that is too large for its format.

    Raises:
        FoundryError: it is.
    """
    longest = LONGEST.get(format_of(path))
    if longest is not None and max(height, width) > longest:
        raise FoundryError(
            f"cannot write {path}: it would have {width}x{height} pixels, and that format takes {longest:,} a side at "
            "most; end it in .png"
        )


def options(path: Path, *, quality: int = QUALITY, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What Pillow's `save` takes for a file of this name.

    Args:
        path: of the file.
        quality: of JPEG and WebP, 1 to 100; 100 writes WebP without loss.
        metadata: as `metadata.kept` gives it.

    Raises:
        FoundryError: the ending names no format.
    """
    kind, known = format_of(path), dict(metadata or {})
    if kind == "WEBP" and known.get("icc_profile", b"")[16:20] == b"GRAY":  # there, grey is written as RGB
        del known["icc_profile"]
    chosen: dict[str, Any] = {}
    if kind == "JPEG":
        chosen |= {"quality": quality, "subsampling": "4:4:4"}
    if kind == "WEBP":
        chosen |= {"quality": quality, "lossless": quality == 100}
    if kind == "PNG":
        chosen["compress_level"] = PNG_LEVEL
    if kind == "PNG" and "gamma" in known:
        chosen["pnginfo"] = _gamma_chunks(known)
    chosen |= {key: known[key] for key in ("icc_profile", "exif") if key in known and kind != "BMP"}
    return chosen | {key: known[key] for key in ("dpi",) if key in known and kind != "WEBP"}


def shown_as_before(picture: Image.Image, path: Path, metadata: Mapping[str, Any]) -> Image.Image:
    """The picture (L or RGB) with sRGB's curve where it has another and the format cannot say so, as only PNG can."""
    gamma = metadata.get("gamma")
    if gamma is None or format_of(path) == "PNG" or abs(gamma - SRGB) < 0.005:
        return picture
    light = [(level / 255) ** (1 / gamma) for level in range(256)]
    curve = [12.92 * each if each <= 0.0031308 else 1.055 * each ** (1 / 2.4) - 0.055 for each in light]
    return picture.point([round(255 * each) for each in curve] * len(picture.getbands()))


def _gamma_chunks(metadata: Mapping[str, Any]) -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"gAMA", struct.pack(">I", round(1e5 * metadata["gamma"])))
    if "chromaticity" in metadata:
        chunks.add(b"cHRM", struct.pack(">8I", *(round(1e5 * each) for each in metadata["chromaticity"])))
    return chunks

"""What a photograph's file says besides its pixels, as far as it still holds once they are upright and enlarged.

When it was taken, with what camera, where, by whom, and how it is to be shown. Left behind is what describes the file
(sizes, thumbnails, orientation, where things lie in it) and what only the camera's maker can read.
"""

from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageFile

from srfoundry.imaging import untrusted

DESCRIPTIONS = (  # of IFD 0: description, make, model, resolution, software, date, artist, host, ratings, copyright
    *(270, 271, 272, 282, 283, 296, 305, 306, 315, 316),
    *(18246, 18249, 33432, 40091, 40092, 40093, 40094, 40095),
)
SUBFOLDERS = {
    0x8769: {37500, 40960, 40961, 40962, 40963, 40965},  # Exif, without maker's note, version, colour space, sizes
    0x8825: set[int](),  # GPS
}
CONVERTED = ("CMYK", "YCbCr", "LAB")  # modes whose colours become others in RGB: their profile says nothing of these
LONGEST = 2**20  # bytes of an EXIF block that is looked at: one tag could be unpacked into millions of numbers
BULKY = 4096  # bytes of a value that is not taken over
ROOM = 65_000  # bytes that fit into a JPEG's segment


def orientation(picture: ImageFile.ImageFile, tags: Mapping[int, Any]) -> int:
    """EXIF's orientation, 1 to 8; 1 where the block is corrupt.

    Args:
        picture: as it was opened.
        tags: of a TIFF.
    """
    try:
        if len(picture.info.get("exif", b"")) > LONGEST:
            return 1
        found = tags.get(274) if isinstance(picture, untrusted.Tiff) else picture.getexif().get(274)
        return found if isinstance(found, int) else 1
    except Exception:  # whatever Pillow's EXIF parser raises: the pixels are whole
        return 1


def kept(picture: ImageFile.ImageFile, block: bytes, *, turned: bool) -> dict[str, Any]:
    """What is passed on: icc_profile and exif (bytes), dpi (across, down), gamma and chromaticity (as PNG has them).

    Args:
        picture: as it was opened and decoded.
        block: of `exif`.
        turned: whether width and height have changed places.
    """
    info, found = picture.info, dict[str, Any]()
    profile = info.get("icc_profile")
    if picture.mode not in CONVERTED and isinstance(profile, bytes):  # text may bear that name
        found["icc_profile"] = profile
    if block:
        found["exif"] = block
    untagged = isinstance(picture, untrusted.Tiff) and not {282, 283} <= set(picture.tag_v2)
    dpi: Any = None if untagged else info.get("dpi")  # Pillow says 1 of a TIFF that says nothing
    if _numbers(dpi, 2) and all(1 <= each <= 30_000 for each in dpi):
        across, down = map(float, dpi)
        found["dpi"] = (down, across) if turned else (across, down)
    gamma = info.get("gamma")
    if "icc_profile" not in found and "srgb" not in info and isinstance(gamma, float) and 0.05 < gamma < 20:
        found["gamma"] = gamma
        white: Any = info.get("chromaticity")
        if _numbers(white, 8) and all(0 <= each <= 10 for each in white):
            found["chromaticity"] = tuple(white)
    return found


def exif(picture: ImageFile.ImageFile) -> bytes:
    """EXIF's tags that still hold, as a new block; none where the old one is corrupt."""
    try:
        if len(picture.info.get("exif", b"")) > LONGEST:
            return b""
        old, new = picture.getexif(), Image.Exif()
        for tag in DESCRIPTIONS:
            if tag in old and _small(old[tag]):
                new[tag] = old[tag]
        kept = [tag for tag in DESCRIPTIONS if tag in new and tag not in (282, 283, 296)]
        for folder, left in SUBFOLDERS.items():
            values = {tag: value for tag, value in old.get_ifd(folder).items() if tag not in left and _small(value)}
            if values:
                new.get_ifd(folder).update(values)
                kept.append(folder)
        block = new.tobytes() if kept else b""
        return block if len(block) <= ROOM else b""
    except Exception:  # whatever Pillow's EXIF parser raises: the pixels are whole
        return b""


def _small(value: Any) -> bool:
    if isinstance(value, (bytes, str)):
        return len(value) <= BULKY
    return (
        isinstance(value, (int, float))
        or (isinstance(value, tuple) and len(value) <= 64)
        or hasattr(value, "numerator")
    )


def _numbers(values: Any, count: int) -> bool:
    """Whether it is that many numbers."""
    try:
        return len(values) == count and all(abs(float(value)) < 1e9 for value in values)
    except (TypeError, ValueError, ZeroDivisionError):
        return False

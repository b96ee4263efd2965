"""Picture files in: which there are, and what is in them, as Pillow's images of 8 bits. Needs no PyTorch."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile

from srfoundry.core.errors import FoundryError
from srfoundry.imaging import metadata, untrusted, webp_history

SUFFIXES = {".png", ".jpg", ".jpeg", ".jfif", ".mpo", ".webp", ".tif", ".tiff", ".bmp"}
UNREAD = set(  # pictures of kinds that are not read: named where they lie in a folder
    ".avif .gif .heic .heif .jp2 .j2k .jxl .exr .hdr .pgm .ppm .psd .svg .tga "
    ".arw .cr2 .cr3 .dng .nef .orf .pef .raf .rw2 .srw".split()
)
UPRIGHT = dict(zip(range(2, 9), map(Image.Transpose, (0, 3, 1, 5, 4, 6, 2)), strict=True))  # by EXIF orientation
SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}  # rawmodes that show the low byte
PLAIN = {"1": "L", "L": "L", "LA": "LA", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA"}  # any other mode becomes RGB


def decode(path: Path, largest: int | None = None) -> Image.Image:
    """Decode a photograph, upright, into L, LA, RGB or RGBA of 8 bits; `info` holds what `metadata.kept` says.

    Of a JPEG `info` holds its `quantization`, too: its tables by number, 64 steps each, row by row. Of a lossy WebP it
    holds `quality_alike` (`webp_history`), and of a file of several pictures `several`: True.

    Wider samples are rounded half up (65535 / 255 = 257); only of a 16-bit TIFF that is compressed and stored plane by
    plane, or has premultiplied alpha, the high byte is taken, at most one level off. CMYK is converted by the plain
    formula. Files of several give the first. A corrupt EXIF block leaves the picture unrotated. JPEG and fax
    codes have no checksum: pixels garbled in them, or lost before the mark that ends a JPEG, are not noticed.

    Args:
        path: of the file.
        largest: pixels that it may have; untrusted.LARGEST if not given.

    Raises:
        FoundryError: the file is missing, no photograph, damaged or truncated, of float pixels, or claims more pixels
            than it may have or than its bytes can hold.
    """
    with untrusted.guarded(path) as file:
        opened = untrusted.opened(path, file, largest)
        tags = opened.tag_v2 if isinstance(opened, untrusted.Tiff) else {}
        early = metadata.exif(opened) if tags else None  # Pillow finds a TIFF's before, a PNG's once it is decoded
        picture = _load(path, file, opened, tags)
        turn = metadata.orientation(opened, tags)
        block = metadata.exif(opened) if early is None else early
        several = {"several": True} if _several(path, opened) else {}
        picture.info = {**metadata.kept(opened, block, turned=turn in (5, 6, 7, 8)), **several}
        if isinstance(opened, untrusted.Jpeg) and opened.quantization:
            picture.info["quantization"] = opened.quantization
        alike = webp_history.quality_alike(file) if opened.format == "WEBP" else None
        if alike is not None:
            picture.info["quality_alike"] = alike
        return picture.transpose(UPRIGHT[turn]) if turn in UPRIGHT else picture


def plain(picture: Image.Image) -> Image.Image:
    """A picture in memory as L, LA, RGB or RGBA of 8 bits, not turned upright; what is none of a file's is let pass.

    Raises:
        FoundryError: its samples are wider than 8 bits, or floats.
    """
    if picture.mode[0] in "IF":
        raise FoundryError(f"a picture must have 8 bits a sample, got mode {picture.mode}; scale it to 0 to 255")
    if picture.mode in PLAIN.values():
        return picture
    clear = "transparency" in picture.info or picture.mode in ("PA", "La", "RGBa")
    made = picture.convert("RGBA" if clear else PLAIN.get(picture.mode, "RGB"))
    if picture.mode in metadata.CONVERTED:
        made.info.pop("icc_profile", None)
    return made


def size(path: Path, largest: int | None = None) -> tuple[int, int]:
    """Height and width that a file's header claims, before it is turned upright; FoundryError as in `decode`."""
    with untrusted.guarded(path) as file:
        picture = untrusted.opened(path, file, largest)
        return picture.height, picture.width


def find(folder: Path) -> list[Path]:
    """List the image files below a folder, sorted by their path in it. See `walk`.

    Raises:
        FoundryError: the folder is missing or holds no image, or one in it cannot be listed.
    """
    found = [path for path in walk(folder) if path.suffix.lower() in SUFFIXES]
    if not found:
        raise FoundryError(f"{folder} holds no photograph; put files there that end in {' '.join(sorted(SUFFIXES))}")
    return found


def walk(folder: Path) -> list[Path]:
    """List the files below a folder, sorted by their path in it; links are followed, each folder visited once.

    Hidden files and folders and macOS's resource forks are left out. A broken link is listed, so that `read` names it.

    Raises:
        FoundryError: the folder is missing, or one in it cannot be listed.
    """
    if not os.path.isdir(folder):
        raise FoundryError(f"{folder} is not a folder; point to a folder of photographs")
    found: list[Path] = []
    seen: set[str] = set()
    real, linked = [folder], list[Path]()
    while real or linked:  # links last: what is here under its own name keeps it
        place = real.pop() if real else linked.pop(0)
        if os.path.realpath(place) in seen:
            continue
        seen.add(os.path.realpath(place))
        try:
            with os.scandir(place) as listed:  # knows what is a folder without asking again for each
                entries = [(entry.name, _is_folder(entry), entry.is_symlink()) for entry in listed]
        except OSError as error:
            raise FoundryError(f"cannot list {place} ({error.strerror}); grant the right to or remove it") from None
        for name, is_folder, is_link in sorted(entries):
            if name.startswith(".") or name == "__MACOSX":
                continue
            if is_folder:
                (linked if is_link else real).append(place / name)
            else:
                found.append(place / name)
    return sorted(found, key=str)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _several(path: Path, picture: ImageFile.ImageFile) -> bool:
    """Whether a file holds more pictures that a person would miss; a JPEG but a stereo camera's has aids to show it."""
    return getattr(picture, "is_animated", False) or ("mp" in picture.info and path.suffix.lower() == ".mpo")


def _load(path: Path, file: BinaryIO, picture: ImageFile.ImageFile, tags: Mapping[int, Any]) -> Image.Image:
    """Decode into 8 bits, with transparency of every kind as an alpha channel."""
    raw = untrusted.rawmode(picture.tile[0]) if picture.tile else ""
    name, _, order = raw.partition(";16")
    wide = order in SWAPPED and name in ("RGB", "RGBX", "RGBA", "CMYK", "R")
    swapped = [tile._replace(args=_swapped(tile.args)) for tile in picture.tile] if wide else []
    if raw == "LA;16B":  # four bytes a pixel: both halves at once
        picture.tile = [picture.tile[0]._replace(args="RGBA")]
    picture.load()
    key = picture.info.pop("transparency", None)
    key = key if isinstance(key, (int, tuple, bytes)) else None  # a text chunk may bear that name
    if picture.mode == "F":
        raise FoundryError(f"{path}: pixels are floats of unknown range; save it with 8 or 16 bits")
    if picture.mode.startswith("I"):
        levels = np.asarray(picture)
        made = _grey(path, levels, 4095 if 12 in tags.get(258, ()) else 65535, negative=tags.get(262) == 0)
        if key is not None:
            made.putalpha(Image.fromarray(np.where(levels == key, np.uint8(0), np.uint8(255))))
    elif raw == "LA;16B":
        both = np.asarray(picture)
        made = _rounded("LA", both[..., 0::2].copy(), both[..., 1::2])
    elif wide:
        file.seek(0)
        again = type(picture)(file)  # Pillow keeps the high bytes; with the byte order swapped it keeps the low ones
        again.tile = swapped
        again.load()
        high, low = np.array(picture), np.asarray(again)
        clear = None if key is None else ((high == np.array(key) >> 8) & (low == np.array(key) & 255)).all(-1)
        made = _rounded(picture.mode, high, low)
        if clear is not None:
            made.putalpha(Image.fromarray(np.where(clear, np.uint8(0), np.uint8(255))))
    elif key is not None:
        made = _keyed(picture, key, raw)
    else:
        made = picture.convert("LA") if picture.mode == "La" else picture
    return made if made.mode in PLAIN.values() else made.convert(PLAIN.get(made.mode, "RGB"))


def _swapped(args: Any) -> Any:
    raw, *rest = [args] if isinstance(args, str) else args
    raw = raw[:-1] + SWAPPED[raw[-1]]
    return (raw, *rest) if rest else raw


def _keyed(picture: Image.Image, key: Any, raw: str) -> Image.Image:
    """Turn a PNG's transparent colour, or its palette's alphas, into an alpha channel."""
    if isinstance(key, bytes):
        key = key[:256]
    elif isinstance(key, tuple):
        key = tuple(part & 255 for part in key)
    elif picture.mode == "L":  # Pillow spreads 2 and 4 bits over 0 to 255, but not the key
        step, most = {"L;2": (85, 3), "L;4": (17, 15)}.get(raw, (1, 255))
        key = (key & most) * step
    picture.info["transparency"] = key
    made = picture.convert("LA" if picture.mode in ("1", "L") else "RGBA")
    del picture.info["transparency"]
    return made


def _grey(path: Path, wide: np.ndarray, top: int, *, negative: bool) -> Image.Image:
    least, most = int(wide.min()), int(wide.max())
    if least < 0 or most > top:
        raise FoundryError(f"{path}: grey values {least} to {most} are not within 0 to {top}; save it with 16 bits")
    eight = np.empty(wide.shape, np.uint8)
    for row, levels in enumerate(wide):  # by rows: in the width of the product, all would be the largest thing here
        levels = levels.astype(np.uint32)
        eight[row] = ((top - levels if negative else levels) * 510 + top) // (2 * top)  # half up
    return Image.fromarray(eight)


def _rounded(mode: str, high: np.ndarray, low: np.ndarray) -> Image.Image:
    """Correct `high` in place: 256 high + low is 257 high + (low - high), so it is off where these are far apart."""
    for above, below in zip(high, low, strict=True):
        apart = below.astype(np.int16) - above
        above += apart > 128
        above -= apart < -128
    return Image.frombytes(mode, (high.shape[1], high.shape[0]), high.tobytes())

"""Files come from strangers: what one claims is checked against its own bytes before a pixel is decoded.

Memory and time of a read are bounded here: by LARGEST or what a person allows, by what a byte of the format can hold
and by the length of the file's lists; its checksums are verified where the format has them. `decoding.decode` decodes
what is left.
"""

import ctypes
import errno
import logging
import mmap
import os
import re
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

from PIL import BmpImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from srfoundry.core.errors import FoundryError

LARGEST = 128_000_000  # pixels that are decoded at most unless more are allowed: phones' 108 megapixels, and some room
LONGEST = 2**20  # pixels of a side: decoders list the rows
DENSEST = 4096  # bytes decoded from one byte of a file: deflate makes 1032, LZW 2558, JPEG less than 1024 pixels of 4
FREE = 2**26  # bytes that WebP's and TIFF's other codes, which have no such bound, may claim besides
LISTED = 2**16  # chunks, segments or tags of a file; photographs have hundreds
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")  # of a JPEG; others stand alone, or inside a scan
QUIET = logging.NullHandler()


class TooLarge(FoundryError):
    """A picture claims more pixels than it may have."""


class Jpeg(JpegImagePlugin.JpegImageFile):
    def _read_dpi_from_exif(self) -> None:
        """Leave the EXIF block alone: a corrupt one must not make the picture unreadable."""


class Tiff(TiffImagePlugin.TiffImageFile):
    def load_end(self) -> None:
        """Neither follow the metadata, for the same reason, nor rotate: `decoding.decode` does, for every format."""
        self._size = self._tile_size


# Not Image.open: it knows formats that start other programs, and says less about what is wrong. An MPO is a JPEG.
OPENERS: dict[bytes, type[ImageFile.ImageFile]] = {
    b"\x89PNG\r\n\x1a\n": PngImagePlugin.PngImageFile,
    b"\xff\xd8\xff": Jpeg,
    b"RIFF": WebPImagePlugin.WebPImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
    **dict.fromkeys(TiffImagePlugin.PREFIXES, Tiff),
}


@contextmanager
def guarded(path: Path) -> Iterator[BinaryIO]:
    """Open a file of unknown worth: whatever goes wrong inside becomes one FoundryError, and Pillow prints nothing."""
    # These name Pillow alone and may stay: catch_warnings would restore what other reading threads need.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").addHandler(QUIET)
    _hush_libtiff()
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise FoundryError(f"{path} is not a file; point to a photograph")  # to open a pipe would wait for ever
        with path.open("rb") as file:
            yield file
    except FoundryError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise FoundryError(f"{path} not found; check the path") from None
    except PermissionError:
        raise FoundryError(f"{path} may not be opened; grant the right to read it") from None
    except MemoryError:
        raise FoundryError(f"{path} needs more memory than there is; cut it into parts") from None
    except Exception as error:  # Pillow's parsers answer damaged bytes with whatever Python raised in them
        if isinstance(error, OSError) and error.errno == errno.ELOOP:
            raise FoundryError(f"{path} is a link that leads to itself; remove it") from None
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise FoundryError(f"{path} is damaged or of a rare kind ({reason}); replace it or save it as PNG") from None


@cache
def _hush_libtiff() -> None:
    """Tell the libtiff inside Pillow, where it can be reached, to print no errors: Pillow raises them."""
    handler = getattr(ctypes.CDLL(Image.core.__file__), "TIFFSetErrorHandler", None)
    if handler is not None:
        handler(None)


@dataclass(frozen=True)
class Bounds:
    """How many pixels a file may claim.

    Attributes:
        path: of the file, for errors.
        held: bytes that its own may decode to.
        largest: pixels.
    """

    path: Path
    held: int
    largest: int

    def weigh(self, width: int, height: int, *, bits: int) -> None:
        """Refuse so many pixels of so many bits each.

        Raises:
            TooLarge: they are more than are allowed.
            FoundryError: they are more than the file's bytes can hold.
        """
        if width * height > self.largest or max(width, height) > LONGEST:
            raise TooLarge(
                f"{self.path} claims {width}x{height} pixels, more than {self.largest:,} or a side of {LONGEST:,}; cut "
                "it into parts or remove it, or have the program read more with --largest-megapixels"
            )
        if width * height * bits > 8 * self.held:
            raise FoundryError(
                f"{self.path} is damaged (too short for the {width}x{height} pixels it claims); replace it"
            )


def opened(path: Path, file: BinaryIO, largest: int | None = None) -> ImageFile.ImageFile:
    """Open a picture, undecoded, after all that can be known of it has been checked.

    Args:
        path: of the file, for errors.
        file: opened by `guarded`.
        largest: pixels that it may have; LARGEST if not given.

    Raises:
        FoundryError, ValueError: it is damaged.
    """
    largest = LARGEST if largest is None else largest
    size, head = os.fstat(file.fileno()).st_size, file.read(30)
    opener = next((opener for magic, opener in OPENERS.items() if head.startswith(magic)), None)
    if opener is None:
        raise FoundryError(f"{path} is not an image that can be read; remove it or save it as PNG or JPEG")
    if size > 8 * largest:
        raise FoundryError(f"{path} holds {size:,} bytes, more than {largest:,} pixels take; cut it into parts")
    bounds = Bounds(path, size * DENSEST + FREE * (opener in (Tiff, WebPImagePlugin.WebPImageFile)), largest)
    if opener is WebPImagePlugin.WebPImageFile:
        bounds.weigh(*_webp_size(head), bits=24)  # its decoder allocates when it is made
    elif opener is PngImagePlugin.PngImageFile:
        _walk_png(file, bounds)
    elif opener is Tiff:
        _walk_tiff(file, head)
    scans = _walk_jpeg(file) if opener is Jpeg else 0  # each, a few bytes long, may touch every pixel again
    file.seek(0)
    picture = opener(file)
    wide = 16 if picture.mode.startswith("I;") else 8 * len(picture.getbands())
    least = 32 if opener is Jpeg else 1 if picture.mode in ("1", "L", "P") else wide  # bits of a pixel, decoded
    bounds.weigh(*picture.size, bits=least)
    if scans * picture.width * picture.height > 20 * largest:
        raise ValueError(f"{scans} scans")
    if isinstance(picture, Tiff):
        _check_tiles(picture, bounds)
    elif any(tile.extents != (0, 0, *picture.size) for tile in picture.tile):
        raise ValueError("its first frame does not cover the image")
    return picture


def _webp_size(head: bytes) -> tuple[int, int]:
    if head[12:16] == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":
        both = int.from_bytes(head[21:25], "little")
        return (both & 0x3FFF) + 1, (both >> 14 & 0x3FFF) + 1
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


def _walk_png(file: BinaryIO, bounds: Bounds) -> None:
    """Verify every chunk's checksum, and that there is a byte for each pixel: Pillow does neither."""
    file.seek(8)
    missing, inflate = 0, zlib.decompressobj()
    for number in range(LISTED):
        head = file.read(8)
        left, crc = int.from_bytes(head[:4], "big"), zlib.crc32(head[4:])
        if number == 0:
            missing = _png_bytes(file.read(13), bounds)
            file.seek(16)
        if (number == 0) != (head[4:] == b"IHDR"):
            raise ValueError("IHDR is not its first chunk")
        while left and (block := file.read(min(left, 2**20))):
            left, crc = left - len(block), zlib.crc32(block, crc)
            while missing > 0 and block and head[4:] == b"IDAT" and not inflate.eof:
                missing -= len(inflate.decompress(block, 2**20))
                block = inflate.unconsumed_tail
        if len(head) < 8 or left or len(stored := file.read(4)) < 4:
            raise ValueError("truncated")
        if int.from_bytes(stored, "big") != crc:
            raise ValueError(f"wrong checksum in chunk {head[4:]!r}")
        if head[4:] == b"IEND":
            if missing > 0:
                raise ValueError(f"truncated: {missing} bytes of pixels are missing")
            return
    raise ValueError(f"more than {LISTED} chunks")


def _png_bytes(header: bytes, bounds: Bounds) -> int:
    """Count the bytes that a PNG's pixels inflate to: a filter and its samples for each row, of seven passes or one."""
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    bits = depth * {2: 3, 4: 2, 6: 4}.get(kind, 1)
    bounds.weigh(width, height, bits=bits)
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = ((max(0, width - x + dx - 1) // dx, max(0, height - y + dy - 1) // dy) for x, y, dx, dy in passes)
    return sum(down * (1 + (across * bits + 7) // 8) for across, down in sizes if across)


def _walk_jpeg(file: BinaryIO) -> int:
    """Count the scans of the first picture; what follows its end is another one, or a film."""
    scans, at = 0, 2
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for _ in range(LISTED):
            marker = MARKER.search(data, at)
            if marker is None or marker[0] == b"\xff\xd9":
                return scans
            if not scans and marker.start() - at > LISTED:
                raise ValueError("rubbish between its segments")
            scans += marker[0] == b"\xff\xda"
            at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    raise ValueError(f"more than {LISTED} segments")


def _walk_tiff(file: BinaryIO, head: bytes) -> None:
    """Bound the lists of numbers, which Pillow unpacks into Python's: a strip's offset takes 4 bytes, then 36."""
    order, big = "<" if head[:1] == b"I" else ">", head[2] == 43
    file.seek(struct.unpack_from(f"{order}Q" if big else f"{order}L", head, 8 if big else 4)[0])
    count = struct.unpack(f"{order}Q" if big else f"{order}H", file.read(8 if big else 2))[0]
    if count > LISTED:
        raise ValueError(f"{count} tags")
    entry = struct.Struct(f"{order}HHQ8x" if big else f"{order}HHL4x")
    listed = file.read(count * entry.size)
    whole = listed[: len(listed) // entry.size * entry.size]
    numbers = sum(count for _, kind, count in entry.iter_unpack(whole) if kind not in (1, 2, 7))  # bytes stay bytes
    if numbers > 16 * LISTED:
        raise ValueError(f"{numbers} numbers in its tags")


def _check_tiles(picture: Tiff, bounds: Bounds) -> None:
    """Require that strips or tiles cover the image once: Pillow leaves gaps black and decodes repeats again."""
    width, height = picture._tile_size
    tags, bands = picture.tag_v2, picture.getbands()
    if picture.use_load_libtiff:  # which lists the tiles and allocates one at a time
        across, down = tags.get(322, width), tags.get(323, height)
        bounds.weigh(across, down, bits=8 * len(bands) if 322 in tags else 0)
        if width * height > 16 * LISTED * across * down:
            raise ValueError(f"tiles of {across}x{down} pixels")
        return
    planar = tags.get(284) == 2
    if planar and 16 in tags.get(258, ()):  # Pillow takes these for 8 bits
        order = ";16L" if tags.prefix == b"II" else ";16B"
        picture.tile = [tile._replace(args=(rawmode(tile) + order, *(tile.args or ())[1:])) for tile in picture.tile]
    boxes = [tile.extents or (0, 0, 0, 0) for tile in picture.tile]
    covered = sum((right - left) * (lower - upper) for left, upper, right, lower in boxes)
    if covered != width * height * (len(bands) if planar else 1):
        raise ValueError("its strips or tiles do not cover the image once")


def rawmode(tile: ImageFile._Tile) -> str:
    """Name how Pillow unpacks a tile, such as RGB;16B."""
    return tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0]

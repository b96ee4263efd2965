"""How coarsely a WebP file was quantised: its header says it, since its pixels keep no marks that would show it.

Lossy WebP is a key frame of VP8 (RFC 6386). Its quantisers, of up to four kinds of areas, stand near the beginning of
the frame, packed by an arithmetic coder; Pillow does not give them.
"""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from srfoundry.imaging import jpeg_history

# Steps of quantisers 0 to 127 (RFC 6386, 14.1), of all coefficients but the means of blocks.
STEPS = np.array(
    [*range(4, 59), *range(60, 117, 2), *range(119, 174, 3), *range(177, 230, 4), 234, 239, 245, *range(249, 285, 5)],
    np.float64,
)
COARSER = 2.5  # times the steps of the JPEG that errs as much; see `quality_alike`
HEADER = 10  # bytes of a frame before what is packed
PACKED = 64  # bytes of that, at least as many as it takes to come to the quantisers
AREAS = 4  # kinds that have quantisers of their own


def quality_alike(file: BinaryIO) -> int | None:
    """The quality, 1 to 100, of the JPEG that errs as much on blurred photographs; None of a file that lost nothing.

    Args:
        file: a WebP file; of an animation its first picture is looked at.
    """
    frame = next(_frames(file), None)
    if frame is None or len(frame) <= HEADER + 2 or frame[0] & 1:  # that bit: no key frame
        return None
    coarseness = STEPS[_quantisers(frame[HEADER:])].mean() / COARSER
    qualities = range(1, 101)
    return min(qualities, key=lambda quality: abs(jpeg_history.steps(quality)[jpeg_history.LOW].mean() - coarseness))


def _frames(file: BinaryIO) -> Iterator[bytes]:
    """The beginnings of the lossy pictures in a file's chunks."""
    file.seek(12)  # RIFF, its length, WEBP
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[4:], "little")
        if head[:4] == b"ANMF":  # holds chunks itself
            file.seek(16, 1)
            continue
        if head[:4] == b"VP8 ":
            yield file.read(min(length, HEADER + PACKED))
            return
        file.seek(length + length % 2, 1)


def _quantisers(packed: bytes) -> list[int]:
    """Indices into `STEPS` (RFC 6386, 9.2 to 9.6)."""
    header = _Unpacked(packed)
    header.number(2)  # colour space, clamping
    areas, absolute = [0] * AREAS, False
    if header.number(1):
        mapped, given = header.number(1), header.number(1)
        if given:
            absolute = bool(header.number(1))
            areas = [header.optional(7) for _ in range(AREAS)]
            for _ in range(AREAS):
                header.optional(6)  # strengths of the deblocking filter
        for _ in range(3 * mapped):  # chances in the map of areas
            if header.number(1):
                header.number(8)
    header.number(1 + 6 + 3)  # deblocking filter
    if header.number(1) and header.number(1):
        for _ in range(8):
            header.optional(6)
    header.number(2)  # partitions
    base = header.number(7)
    return [min(max(area if absolute else base + area, 0), len(STEPS) - 1) for area in areas]


class _Unpacked:
    """Numbers that an arithmetic coder packed under even chances (RFC 6386, 7.3).

    Args:
        packed: two bytes or more; zeros are read beyond.
    """

    def __init__(self, packed: bytes) -> None:
        self.bytes, self.value = iter(packed[2:]), packed[0] << 8 | packed[1]
        self.range, self.shifted = 255, 0

    def number(self, bits: int) -> int:
        """The next, of so many bits."""
        found = 0
        for _ in range(bits):
            found = found << 1 | self._bit()
        return found

    def optional(self, bits: int) -> int:
        """The next, of so many bits and a sign, if it is there; otherwise 0."""
        if not self.number(1):
            return 0
        size = self.number(bits)
        return -size if self.number(1) else size

    def _bit(self) -> int:
        split = 1 + ((self.range - 1) * 128 >> 8)
        found = self.value >= split << 8
        self.value -= found * (split << 8)
        self.range = self.range - split if found else split
        while self.range < 128:
            self.value, self.range, self.shifted = self.value << 1, self.range << 1, self.shifted + 1
            if self.shifted == 8:
                self.value, self.shifted = self.value | next(self.bytes, 0), 0
        return int(found)

"""Writing a set of training photographs, many at a time: every byte's place is known before the first is decoded."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from srfoundry.core.atomic import write_bytes
from srfoundry.core.errors import FoundryError
from srfoundry.core.parallel import Map
from srfoundry.imaging import decoded, resize
from srfoundry.imaging.patches import INDEX, pixels


@runtime_checkable  # for the shape checks of the tests
class Examined(Protocol):
    """A photograph whose size is known: a `sources.Photograph`, or anything else with these."""

    @property
    def path(self) -> Path: ...

    @property
    def source(self) -> Path: ...

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...


@dataclass(frozen=True)
class Place:
    """Where one photograph's pixels go, by reduction; `height` and `width` are those of its file, not yet cropped."""

    path: Path
    source: Path
    height: int
    width: int
    offsets: dict[int, int]


def prepare(
    folder: Path, photographs: Mapping[str, Examined], factors: Sequence[int], *, mapped: Map, resumes: bool = False
) -> None:
    """Write a set that `Patches.open` reads: every photograph, cropped to a multiple, at every reduction.

    The same bytes for any `mapped`. The index comes last: a preparation that was killed leaves none, and no set.

    Args:
        folder: of the set.
        photographs: by name.
        factors: reductions (MATLAB's bicubic, from the 8-bit pixels); all photographs are cropped to multiples of the
            largest.
        resumes: `mapped` leaves out what was done before (`resuming`), so that pixels which are there stay.

    Raises:
        FoundryError: too little room on the disk, a photograph smaller than the largest reduction, changed since it was
            examined, or no longer readable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in (folder / INDEX, *(pixels(folder, factor) for factor in factors if not resumes)):
        old.unlink(missing_ok=True)  # not truncated: a cache may share the file
    largest = max(factors)
    ends = dict.fromkeys(factors, 0)
    places, entries = [], []
    for name, photograph in photographs.items():
        high, wide = (extent // largest * largest for extent in (photograph.height, photograph.width))
        if not high * wide:
            size = f"{photograph.width}x{photograph.height}"
            raise FoundryError(f"{photograph.path} is {size}, smaller than the reduction {largest}; remove it")
        # absolute: another machine's working folder may be another one
        files = photograph.path.absolute(), photograph.source.absolute()
        places.append(Place(*files, photograph.height, photograph.width, dict(ends)))
        offsets = {str(factor): end for factor, end in ends.items()}
        entries.append({"name": name, "height": high, "width": wide, "offsets": offsets})
        for factor in factors:
            ends[factor] += 3 * (high // factor) * (wide // factor)
    _allocate(folder, ends)
    for _ in mapped(partial(_write, folder.absolute()), places, f"preparing {folder.name}"):
        pass
    index = {"factors": list(factors), "photographs": entries}
    write_bytes(folder / INDEX, json.dumps(index, indent=1).encode())


def _allocate(folder: Path, sizes: Mapping[int, int]) -> None:
    """Give each file its size, and leave what stands in it."""
    files = {pixels(folder, factor): size for factor, size in sizes.items()}
    there = sum(file.stat().st_blocks * 512 for file in files if file.exists())
    needed, free = sum(files.values()) - there, shutil.disk_usage(folder).free
    if needed > free:
        raise FoundryError(
            f"{folder} needs {needed / 1e9:.2f} GB, got {free / 1e9:.2f} GB free; make room or use fewer photographs"
        )
    for path, size in files.items():
        with path.open("ab") as file:
            file.truncate(size)


def _write(folder: Path, place: Place) -> None:
    """Write one photograph, at all reductions, to its place."""
    read = decoded.read(place.source)
    height, width = read.shape[:2]
    if (height, width) != (place.height, place.width):
        raise FoundryError(
            f"{place.path} was {place.width}x{place.height} when it was examined, got {width}x{height}; "
            "leave the photographs alone and run it again"
        )
    high, wide = (extent // max(place.offsets) * max(place.offsets) for extent in (height, width))
    levels = torch.from_numpy(read[None, :high, :wide]).permute(0, 3, 1, 2)
    for factor, offset in place.offsets.items():
        reduced = levels if factor == 1 else resize.cubic_uint8(levels, 1 / factor)
        # Not for reading too: NFS would then write whole pages, and undo what another machine wrote beside.
        file = os.open(pixels(folder, factor), os.O_WRONLY)
        try:
            left = reduced[0].permute(1, 2, 0).contiguous().numpy().data.cast("B")
            while left:
                written = os.pwrite(file, left, offset)
                left, offset = left[written:], offset + written
            os.fsync(file)  # a note that it is done must not outlive it
        finally:
            os.close(file)

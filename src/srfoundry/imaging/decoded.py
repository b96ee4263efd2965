"""Photographs that are decoded once: their 8-bit pixels as files, which whoever comes next maps instead of decoding."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from srfoundry.core.arrays import write_array
from srfoundry.imaging import decoding

SUFFIX = ".levels"  # no picture file's: a .npy beside a photograph is its kernel


def keep(levels: UInt8[ndarray, "h w 3"], path: Path) -> None:
    """Write a photograph's pixels to a file that ends in SUFFIX."""
    write_array(path, levels)


def read(path: Path) -> UInt8[ndarray, "h w 3"]:
    """A photograph's RGB pixels, from a picture file or from what `keep` wrote: that is mapped, not copied.

    Raises:
        FoundryError: a picture file cannot be read. See `decoding.decode`.
    """
    if path.suffix == SUFFIX:
        return np.load(path, mmap_mode="c")  # PyTorch wants to be able to write; the file stays as it is
    return np.array(decoding.decode(path).convert("RGB"))

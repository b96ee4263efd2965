"""Kernels in files: .npy, .npz, .mat and .png, whatever program wrote them."""

import math
import zipfile
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.core.arrays import write_array
from srfoundry.core.errors import FoundryError
from srfoundry.degradation import conventions, kernels, matlab
from srfoundry.imaging import images

SUFFIXES = (".npy", ".npz", ".mat", ".png")
LARGEST = 2**28  # bytes of all arrays of a file: a hundred thousand kernels of 25 x 25 in single precision
MOST = 10_000  # arrays of a file
ZIP = b"PK\3\4"  # how a .npz begins
LARGEST_PICTURE = 2**20  # pixels of a kernel's picture


def find(folder: Path) -> list[Path]:
    """List the kernel files of a folder by name; there need be none.

    Raises:
        FoundryError: there is no such folder.
    """
    if not folder.is_dir():
        raise FoundryError(f"{folder} is not a folder; make it, or name another in synthesize.kernels")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != ".")


def save(kernel: Float[Tensor, "k k"], path: Path) -> None:
    """Write one kernel as .npy, float32, as `read` takes it."""
    write_array(path, kernel.detach().cpu().float().numpy())


def read(path: Path, convention: conventions.Name = "mzsr") -> Float[Tensor, "1 k k"]:
    """Read one kernel: the only one of the file, or the one called `kernel`, as a correlation of odd size.

    Args:
        convention: whose kernel it is (conventions.CONVENTIONS); it is converted so that it gives the same image.

    Raises:
        FoundryError: the file is missing, damaged, needs unpickling, or holds no valid kernel, or several.
    """
    found = read_all(path)
    if len(found) > 1 and "kernel" not in found:
        names = ", ".join(list(found)[:5])
        raise FoundryError(f"{path} holds {len(found)} kernels ({names}, ...); save the one that you mean alone")
    kernel = found["kernel"] if "kernel" in found else next(iter(found.values()))
    return checked(kernel, str(path), convention).unsqueeze(0)


def read_all(path: Path) -> dict[str, Float[Tensor, "_ _"]]:
    """Read every kernel of a file by name, float32, not yet checked; a picture's grey levels are scaled to sum to 1.

    Raises:
        FoundryError: the file is missing, damaged, of another kind, needs unpickling, or holds no array of two
            dimensions.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise FoundryError(
            f"{path} is no kernel that can be read, got {suffix or 'no suffix'}; use {' '.join(SUFFIXES)}"
        )
    if suffix == ".png":
        shade = images.read(path, LARGEST_PICTURE).mean(dim=1)[0]
        if not bool(shade.any()):
            raise FoundryError(f"{path} is black; a kernel's picture needs a light")
        return {path.stem: shade / shade.sum()}
    try:
        arrays = matlab.arrays(path) if suffix == ".mat" else _numpy(path)
        with np.errstate(over="ignore"):  # what float32 has no room for becomes infinite, which `checked` refuses
            found = {
                name: torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)) for name, array in arrays.items()
            }
    except FileNotFoundError:
        raise FoundryError(f"{path} not found; check the path of the kernel") from None
    except Exception as error:  # parsers answer damaged bytes with whatever Python raised in them
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise FoundryError(f"{path} is no kernel that can be read ({reason}); save it with numpy.save") from None
    good: dict[str, Tensor] = {}
    for name, array in found.items():
        kernel = array.squeeze() if array.ndim > 3 else array
        if kernel.ndim == 3:  # a stack along MATLAB's last axis, or numpy's first
            stack = kernel.movedim(2, 0) if suffix == ".mat" and kernel.shape[0] == kernel.shape[1] else kernel
            good |= {f"{name}{index}" if len(stack) > 1 else name: one for index, one in enumerate(stack)}
        elif kernel.ndim == 2:
            good[name] = kernel
    if not good:
        shapes = ", ".join(str(tuple(array.shape)) for array in found.values()) or "nothing"
        raise FoundryError(f"{path} must hold a kernel of two dimensions, got {shapes}; save one")
    return good


def checked(kernel: Tensor, name: str, convention: conventions.Name) -> Float[Tensor, "k k"]:
    """The kernel as a correlation of odd size.

    Args:
        kernel: as it was read.
        name: of it, for the error.
        convention: whose kernel it is.

    Raises:
        FoundryError: it is no blur kernel.
    """
    if kernel.shape[0] == kernel.shape[1]:
        kernel = conventions.correlation(kernel, convention)
    kernels.check(kernel, name)
    return kernel


def _numpy(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:  # given a path, numpy leaves a damaged file open
        if file.read(4) != ZIP:
            file.seek(0)
            _weigh([file])
            file.seek(0)
            return {path.stem: np.load(file, allow_pickle=False)}
        file.seek(0)
        with ExitStack() as stack:
            packed = stack.enter_context(zipfile.ZipFile(file))
            _weigh([stack.enter_context(packed.open(name)) for name in packed.namelist()[:MOST]])
        file.seek(0)
        loaded = np.load(file, allow_pickle=False)
        return {name: loaded[name] for name in loaded.files[:MOST]}


def _weigh(files: Iterable[Any]) -> None:
    """Refuse arrays by their headers, before numpy allocates what these claim.

    Raises:
        ValueError: they are no arrays, or too large.
    """
    total = 0
    for file in files:
        version, header = np.lib.format.read_magic(file), None
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        with suppress(MemoryError):  # Python's parser calls a deep nesting so
            header = read(file)
        if header is None:
            raise ValueError("its header is nested too deep")
        total += math.prod(header[0]) * header[2].itemsize
    if total > LARGEST:
        raise ValueError(f"its arrays take {total:,} bytes, {LARGEST:,} are the most")

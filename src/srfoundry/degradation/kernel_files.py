"""Kernels in files: .npy, .npz, .mat and .png, whatever program wrote them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.core.atomic import replacing
from srfoundry.core.errors import FoundryError
from srfoundry.degradation import conventions, kernels, matlab
from srfoundry.imaging import images

SUFFIXES = (".npy", ".npz", ".mat", ".png")


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
    with replacing(path) as partial:
        np.save(partial, kernel.detach().cpu().float().numpy())


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
        shade = images.read(path).mean(dim=1)[0]
        if not bool(shade.any()):
            raise FoundryError(f"{path} is black; a kernel's picture needs a light")
        return {path.stem: shade / shade.sum()}
    try:
        arrays = matlab.arrays(path) if suffix == ".mat" else _numpy(path)
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
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {path.stem: loaded}
        return {name: loaded[name] for name in loaded.files}

"""Kernels in files: a user's own (.npy, .npz, .mat, .png), and banks drawn from families with a manifest."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import derive, generator
from srfoundry.degradation import conventions, kernels, matlab
from srfoundry.imaging import images

SUFFIXES = (".npy", ".npz", ".mat", ".png")


@dataclass(frozen=True)
class Bank:
    """Kernels of one size and, for each, where it comes from: its family and parameters, or its file."""

    kernels: Float[Tensor, "n k k"]
    manifest: list[dict[str, Any]]


def draw(
    counts: Mapping[str, int], files: Sequence[Path] = (), *, size: int, scale: int, seed: int, name: str = "bank"
) -> Bank:
    """Draw so many kernels of each family (kernels.FAMILIES), each family from a seed of its own, and add a user's.

    Raises:
        FoundryError: nothing is asked for, a file cannot be used, or its kernel is larger than `size`.
    """
    found: list[Tensor] = []
    manifest: list[dict[str, Any]] = []
    for family, count in counts.items():
        if count:
            drawn, values = kernels.FAMILIES[family](count, size=size, scale=scale, rng=generator(seed, name, family))
            found.append(drawn)
            start = {"family": family, "seed": derive(seed, name, family), "of": count}
            for index in range(count):
                row = {key: round(float(column[index]), 6) for key, column in values.items()}
                manifest.append({**start, "index": index, **row})
    for path in files:
        for entry, kernel in read_all(path).items():
            kernel = _checked(kernel, f"{path} {entry}", "mzsr")
            room = size - kernel.shape[-1]
            if room < 0:
                raise FoundryError(
                    f"{path} {entry} has {kernel.shape[-1]} taps a side, the bank {size}; raise synthesize.kernel_size"
                )
            found.append(F.pad(kernel, (room // 2,) * 4)[None])
            manifest.append({"family": "file", "file": f"{path.name} {entry}"})
    if not found:
        raise FoundryError("the kernel bank is empty; ask for at least one kernel in synthesize.bank")
    return Bank(torch.cat(found), manifest)


def find(folder: Path) -> list[Path]:
    """List the kernel files of a folder by name; there need be none.

    Raises:
        FoundryError: there is no such folder.
    """
    if not folder.is_dir():
        raise FoundryError(f"{folder} is not a folder; make it, or name another in synthesize.kernels")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != ".")


def write(bank: Bank, folder: Path) -> None:
    """Write bank.npy (n k k, float32) and bank.json (the manifest, one row a kernel)."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "bank.npy", bank.kernels.numpy())
    lines = ",\n ".join(json.dumps(row) for row in bank.manifest)
    (folder / "bank.json").write_text(f"[{lines}]\n")


def save(kernel: Float[Tensor, "k k"], path: Path) -> None:
    """Write one kernel as .npy, float32, as `read` takes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, kernel.detach().cpu().float().numpy())


def samples(bank: Bank, count: int = 6) -> dict[str, Float[Tensor, "k k"]]:
    """Return the first kernels of each family, named, for a picture."""
    found: dict[str, Tensor] = {}
    families: dict[str, int] = {}
    for kernel, row in zip(bank.kernels, bank.manifest, strict=True):
        index = families.get(row["family"], 0)
        families[row["family"]] = index + 1
        if index < count:
            found[row.get("file", f"{row['family']} {index}")] = kernel
    return found


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
    return _checked(kernel, str(path), convention).unsqueeze(0)


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


def _checked(kernel: Tensor, name: str, convention: conventions.Name) -> Tensor:
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

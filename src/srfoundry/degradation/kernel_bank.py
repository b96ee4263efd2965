"""Banks of kernels, drawn from families and joined by a user's own, with a manifest of where each comes from."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from srfoundry.core.arrays import write_array
from srfoundry.core.atomic import write_bytes
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import Stream, derive
from srfoundry.degradation import kernel_families, kernel_files
from srfoundry.degradation.settings import BankDraw


@dataclass(frozen=True)
class Bank:
    """Kernels of one size and, for each, where it comes from: its family and parameters, or its file."""

    kernels: Float[Tensor, "n k k"]
    manifest: list[dict[str, Any]]


def draw(wanted: BankDraw, root: Path, *, scale: int, stream: Stream) -> Bank:
    """Draw kernels of each family, each family from a seed of its own, and add a user's.

    Args:
        wanted: their size, how many of each family, and the folder of the user's.
        root: folder of the project.
        scale: what the kernels are for; families' widths and lengths grow with it.
        stream: of the draws.

    Raises:
        FoundryError: nothing is wanted, a file cannot be used, or its kernel is larger than `kernel_size`.
    """
    size = wanted.kernel_size
    found: list[Tensor] = []
    manifest: list[dict[str, Any]] = []
    for family, count in asdict(wanted.bank).items():
        if count:
            drawn, values = kernel_families.draw(family, count, size=size, scale=scale, rng=stream.rng(family))
            found.append(drawn)
            start = {"family": family, "seed": derive(stream.seed, stream.name, family), "of": count}
            for index in range(count):
                row = {key: round(float(column[index]), 6) for key, column in values.items()}
                manifest.append({**start, "index": index, **row})
    for path in kernel_files.find(root / wanted.kernels):
        for entry, kernel in kernel_files.read_all(path).items():
            found.append(
                _padded(kernel_files.checked(kernel, f"{path} {entry}", "mzsr"), size, f"{path} {entry}")[None]
            )
            manifest.append({"family": "file", "file": f"{path.name} {entry}"})
    if not found:
        raise FoundryError("the kernel bank is empty; ask for at least one kernel in synthesize.bank")
    return Bank(torch.cat(found), manifest)


def write(bank: Bank, folder: Path) -> None:
    """Write bank.npy (n k k, float32) and bank.json (the manifest, one row a kernel)."""
    write_array(folder / "bank.npy", bank.kernels.numpy())
    lines = ",\n ".join(json.dumps(row) for row in bank.manifest)
    write_bytes(folder / "bank.json", f"[{lines}]\n".encode())


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


def _padded(kernel: Tensor, size: int, name: str) -> Tensor:
    room = size - kernel.shape[-1]
    if room < 0:
        raise FoundryError(f"{name} has {kernel.shape[-1]} taps a side, the bank {size}; raise synthesize.kernel_size")
    return F.pad(kernel, (room // 2,) * 4)

"""Training photographs as memory-mapped pixels, and aligned random patches from them, the same for every worker.

Sets are written by data/prepare.py; each photograph lies at reductions 1, 2, ... in files of 8-bit pixels, `h w c`.
"""

import json
import math
import mmap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from srfoundry.core.errors import FoundryError
from srfoundry.imaging.images import from_uint8

INDEX = "index.json"
FLAT = -6.0  # MZSR keeps a patch if the logarithm of its mean squared gradient is at least this
TRIES = 8  # draws before a flat patch is taken all the same
RESIDENT = 64 << 20  # bytes of the files that may stay in this process's memory
ALL = slice(None)
GLANCE = 8  # windows between two looks at that: each can bring in some MiB, for the kernel maps large folios whole


class Patches:
    """A prepared set: each photograph at reductions 1, 2, ... (MATLAB's bicubic, 8 bits), and patches from it."""

    def __init__(
        self,
        folder: Path,
        entries: Sequence[dict[str, Any]],
        factors: Sequence[int],
        files: "_Files | None" = None,
    ) -> None:
        self.folder = folder
        self.entries = list(entries)
        self.factors = tuple(factors)
        self._places = {entry["name"]: place for place, entry in enumerate(self.entries)}
        self._heights = np.array([entry["height"] for entry in self.entries], dtype=np.int64)
        self._widths = np.array([entry["width"] for entry in self.entries], dtype=np.int64)
        self._smallest = int(np.minimum(self._heights, self._widths).min()) if self.entries else 0
        self._files = files or _Files({factor: pixels(folder, factor) for factor in factors})

    def __reduce__(self) -> tuple[Any, ...]:
        """Open the files anew where it is unpickled."""
        return Patches, (self.folder, self.entries, self.factors)

    @classmethod
    def open(cls, folder: Path) -> "Patches":
        """Open a set; instant at any size, since pixels are read when they are asked for.

        Raises:
            FoundryError: the set is missing or damaged.
        """
        try:
            index = json.loads((folder / INDEX).read_text())
            entries, factors = index["photographs"], index["factors"]
            for factor in factors:
                needed = max((_end(entry, factor) for entry in entries), default=0)
                found = pixels(folder, factor).stat().st_size
                if found < needed:
                    raise ValueError(f"{pixels(folder, factor).name} has {found} of {needed} bytes")
            return cls(folder, entries, factors)
        except FileNotFoundError as error:
            if (folder / INDEX).exists():
                reason = f"{Path(error.filename).name} is missing"
                raise FoundryError(f"{folder} is damaged ({reason}); run 'dvc repro --force synthesize'") from None
            raise FoundryError(f"{folder} holds no prepared set; it is written by 'dvc repro synthesize'") from None
        except (ValueError, KeyError, TypeError) as error:
            raise FoundryError(f"{folder} is damaged ({error}); run 'dvc repro --force synthesize'") from None

    def photographs(self) -> list[str]:
        """Return the photographs' names."""
        return [entry["name"] for entry in self.entries]

    def only(self, names: Iterable[str]) -> "Patches":
        """Return the same set with some of its photographs."""
        kept = set(names)
        entries = [entry for entry in self.entries if entry["name"] in kept]
        return Patches(self.folder, entries, self.factors, self._files)

    def image(self, name: str, factor: int = 1) -> Float[Tensor, "1 3 h w"]:
        """Return a whole photograph at a reduction."""
        entry = self.entries[self._places[name]]
        height, width = entry["height"] // factor, entry["width"] // factor
        start, path = entry["offsets"][str(factor)], pixels(self.folder, factor)
        levels = np.fromfile(path, dtype=np.uint8, count=height * width * 3, offset=start)
        return from_uint8(torch.from_numpy(levels.reshape(1, height, width, 3)))

    def batch(
        self,
        count: int,
        patch: int,
        *,
        rng: torch.Generator,
        factors: Sequence[int] | None = None,
        rows: slice | Sequence[int] = ALL,
        permuted: float = 0.0,
    ) -> dict[int, Float[Tensor, "b 3 p p"]]:
        """Draw aligned patches, flipped and rotated (8 ways), keyed by reduction.

        Photographs are drawn evenly; a flat patch is drawn again a few times (MZSR's gradient rule).

        Args:
            patch: high-resolution pixels a side; a multiple of the largest reduction.
            factors: the reductions to return, all if not given; which patches are drawn does not depend on them.
            rows: of the batch that are cut and returned: those of one process of several.
            permuted: share of the patches whose colour channels come in a random order, 0 to 1.

        Raises:
            FoundryError: `patch` does not divide, the set has not these reductions, or a photograph is smaller than a
                patch.
        """
        wanted = self.factors if factors is None else tuple(factors)
        align = max(self.factors)
        self._check(patch, align, wanted)
        drawn = torch.randint(2**31, (count, TRIES, 4), generator=rng).numpy()[rows]
        orders = _orders(count, permuted, rng)[rows]
        count = len(drawn)
        which = drawn[..., 0] % len(self.entries)
        top = drawn[..., 1] % ((self._heights[which] - patch) // align + 1) * align
        left = drawn[..., 2] % ((self._widths[which] - patch) // align + 1) * align
        window = np.stack([which, top, left], axis=-1)
        high = np.empty((count, patch, patch, 3), dtype=np.uint8)
        chosen, again = window[:, 0].copy(), np.arange(count)
        for attempt in range(TRIES):
            chosen[again] = window[again, attempt]
            self._cut(high, chosen, 1, again.tolist())
            again = again[_flat(high[again])]
            if not len(again):
                break
        turns = (drawn[:, 0, 3] % 8).tolist()
        batch = {}
        for factor in wanted:
            cut = high
            if factor != 1:
                cut = np.empty((count, patch // factor, patch // factor, 3), dtype=np.uint8)
                self._cut(cut, chosen, factor, list(range(count)))
            batch[factor] = _turned(cut, turns, orders)
        return batch

    def _check(self, patch: int, align: int, wanted: Sequence[int]) -> None:
        if patch % align:
            raise FoundryError(f"patch must be a multiple of {align}, got {patch}; change it in params.yaml")
        if not set(wanted) <= set(self.factors):
            raise FoundryError(f"{self.folder} has reductions {list(self.factors)}, got {list(wanted)}; ask for those")
        if not self.entries:
            raise FoundryError(f"{self.folder} has no photograph to draw patches from; choose one at least")
        if self._smallest < patch:
            entry = min(self.entries, key=lambda entry: min(entry["height"], entry["width"]))
            size = f"{entry['height']}x{entry['width']}"
            raise FoundryError(
                f"photograph {entry['name']} ({size}) is smaller than a patch of {patch}; raise synthesize.smallest"
            )

    def _cut(
        self, into: UInt8[np.ndarray, "b p p 3"], windows: Int[np.ndarray, "b 3"], factor: int, which: Sequence[int]
    ) -> None:
        """Copy the windows `which` (photograph, top, left at full size) of a reduction to their places in `into`."""
        key, found = str(factor), []
        for place, top, left in windows[which].tolist():
            entry = self.entries[place]
            row = entry["width"] // factor * 3
            found.append((entry["offsets"][key] + top // factor * row + left // factor * 3, row))
        self._files.copy(factor, found, into, which)


class _Files:
    """The files of a set, mapped; what was read of them leaves this process's memory again before it is much."""

    def __init__(self, paths: Mapping[int, Path]) -> None:
        self._maps = {factor: _map(path) for factor, path in paths.items() if path.stat().st_size}
        self._base = _mapped_bytes()

    def copy(
        self,
        factor: int,
        windows: Sequence[tuple[int, int]],
        into: UInt8[np.ndarray, "b p p 3"],
        which: Sequence[int],
    ) -> None:
        """Copy square windows, each given by its first byte and its photograph's bytes a row, to `into[which]`."""
        file, side = self._maps[factor], into.shape[1]
        rows = into.reshape(len(into), side, side * 3)
        for start, row in windows:  # all are asked for before the first is waited for: ten times as fast from a disk
            page = start - start % mmap.PAGESIZE
            file.madvise(mmap.MADV_WILLNEED, page, start + (side - 1) * row + side * 3 - page)
        for done, (index, (start, row)) in enumerate(zip(which, windows, strict=True)):
            if done % GLANCE == 0:
                self._release()
            rows[index] = np.ndarray((side, side * 3), np.uint8, file, start, (row, 1))

    def _release(self) -> None:
        now = _mapped_bytes()
        self._base = min(self._base, now)
        if now - self._base > RESIDENT:
            for file in self._maps.values():
                file.madvise(mmap.MADV_DONTNEED)  # the page cache keeps them
            self._base = _mapped_bytes()


def crop_to_multiple(image: Float[Tensor, "b c h w"], multiple: int) -> Float[Tensor, "b c H W"]:
    """Crop to a multiple, anchored at the top left (the field's modcrop)."""
    height, width = (extent // multiple * multiple for extent in image.shape[-2:])
    return image[..., :height, :width]


def pixels(folder: Path, factor: int) -> Path:
    """Return the file of a set that holds its photographs at a reduction."""
    return folder / f"x{factor}.bin"


def _map(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    mapped.madvise(mmap.MADV_RANDOM)
    return mapped


def _mapped_bytes() -> int:
    """Bytes of mapped files, of all kinds, in this process's memory."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[2]) * mmap.PAGESIZE


def _end(entry: Mapping[str, Any], factor: int) -> int:
    return entry["offsets"][str(factor)] + 3 * (entry["height"] // factor) * (entry["width"] // factor)


def _flat(patches: UInt8[np.ndarray, "b p p 3"]) -> Bool[np.ndarray, " b"]:
    """Whether the logarithm of the mean squared forward difference, image range [0, 1], is below FLAT (MZSR)."""
    count, side = patches.shape[:2]
    levels = patches.reshape(count, side, side * 3).astype(np.int16)
    corner = levels[:, :-1, :-3]
    squares = np.zeros(count, dtype=np.int64)
    for moved in (levels[:, 1:, :-3], levels[:, :-1, 3:]):
        steps = (moved - corner).astype(np.int32)
        squares += np.einsum("brk,brk->br", steps, steps).sum(axis=1, dtype=np.int64)
    return squares < (math.exp(FLAT) - 1e-10) * 255**2 * corner.shape[1] * corner.shape[2]


def _orders(count: int, permuted: float, rng: torch.Generator) -> Int[np.ndarray, "b 3"]:
    """Places of the colour channels of each patch: a random order in a share of them (RGB permutation, Yoo 2020)."""
    orders = torch.arange(3).repeat(count, 1)
    if permuted:
        chosen = torch.rand(count, generator=rng) < permuted
        orders[chosen] = torch.rand(count, 3, generator=rng).argsort(dim=1)[chosen]
    return orders.numpy()


def _turned(
    patches: UInt8[np.ndarray, "b p p 3"], turns: Sequence[int], orders: Int[np.ndarray, "b 3"]
) -> Float[Tensor, "b 3 p p"]:
    """Apply one of the square's eight symmetries to each: a flip left to right from 4 on, then quarter turns.

    Its colour channels take their order.
    """
    count, side = patches.shape[:2]
    planes = np.empty((count, 3, side, side), dtype=np.uint8)
    for plane, patch, turn, order in zip(planes, patches, turns, orders, strict=True):
        view = patch[:, ::-1] if turn >= 4 else patch
        if turn % 4 == 1:
            view = view.swapaxes(0, 1)[::-1]
        elif turn % 4 == 2:
            view = view[::-1, ::-1]
        elif turn % 4 == 3:
            view = view.swapaxes(0, 1)[:, ::-1]
        plane[:] = view.transpose(2, 0, 1)[order]
    return from_uint8(torch.from_numpy(planes).permute(0, 2, 3, 1))

"""Training photographs as memory-mapped pixels, and aligned random patches from them, the same for every worker."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry import resize
from srfoundry.checkpoint import write_bytes
from srfoundry.errors import FoundryError
from srfoundry.images import from_uint8

FLAT = -6.0  # MZSR keeps a patch if the logarithm of its mean squared gradient is at least this
TRIES = 8  # draws before a flat patch is taken all the same


class Patches:
    """A prepared set: each photograph at reductions 1, 2, ... (MATLAB's bicubic, 8 bits), and patches from it."""

    def __init__(self, folder: Path, entries: Sequence[dict[str, Any]], factors: Sequence[int]) -> None:
        self.folder = folder
        self.entries = list(entries)
        self.factors = tuple(factors)
        self._maps = {factor: np.memmap(_pixels(folder, factor), dtype=np.uint8, mode="r") for factor in factors}

    @classmethod
    def open(cls, folder: Path) -> "Patches":
        """Open a set; instant at any size, since pixels are read when they are asked for.

        Raises:
            FoundryError: the set is missing or damaged.
        """
        try:
            index = json.loads((folder / "index.json").read_text())
            return cls(folder, index["photographs"], index["factors"])
        except FileNotFoundError:
            raise FoundryError(f"{folder} holds no prepared set; it is written by 'dvc repro synthesize'") from None
        except (ValueError, KeyError) as error:
            raise FoundryError(f"{folder} is damaged ({error}); run 'dvc repro --force synthesize'") from None

    def photographs(self) -> list[str]:
        """Return the photographs' names."""
        return [entry["name"] for entry in self.entries]

    def only(self, names: Iterable[str]) -> "Patches":
        """Return the same set with some of its photographs."""
        kept = set(names)
        return Patches(self.folder, [entry for entry in self.entries if entry["name"] in kept], self.factors)

    def image(self, name: str, factor: int = 1) -> Float[Tensor, "1 3 h w"]:
        """Return a whole photograph at a reduction."""
        entry = next(entry for entry in self.entries if entry["name"] == name)
        return from_uint8(torch.from_numpy(self._view(entry, factor).copy()).unsqueeze(0))

    def batch(self, count: int, patch: int, *, rng: torch.Generator) -> dict[int, Float[Tensor, "b 3 p p"]]:
        """Draw aligned patches, flipped and rotated (8 ways), keyed by reduction.

        Photographs are drawn evenly; a flat patch is drawn again a few times (MZSR's gradient rule).

        Args:
            patch: high-resolution pixels a side; a multiple of the largest reduction.

        Raises:
            FoundryError: `patch` does not divide, or a photograph is smaller than a patch.
        """
        largest = max(self.factors)
        if patch % largest:
            raise FoundryError(f"patch must be a multiple of {largest}, got {patch}; change it in params.yaml")
        drawn = [self._draw(patch, largest, rng) for _ in range(count)]
        return {factor: from_uint8(torch.stack([item[factor] for item in drawn])) for factor in self.factors}

    def _draw(self, patch: int, align: int, rng: torch.Generator) -> dict[int, Tensor]:
        tries = 0
        while True:
            which, row, column, turn = torch.randint(2**31, (4,), generator=rng).tolist()
            entry = self.entries[which % len(self.entries)]
            if min(entry["height"], entry["width"]) < patch:
                size = f"{entry['height']}x{entry['width']}"
                raise FoundryError(
                    f"photograph {entry['name']} ({size}) is smaller than a patch of {patch}; raise synthesize.smallest"
                )
            top = row % ((entry["height"] - patch) // align + 1) * align
            left = column % ((entry["width"] - patch) // align + 1) * align
            high = self._view(entry, 1)[top : top + patch, left : left + patch]
            tries += 1
            if tries == TRIES or _texture(high) >= FLAT:
                break
        cut = {}
        for factor in self.factors:
            t, b, e = top // factor, left // factor, patch // factor
            cut[factor] = _turn(torch.from_numpy(self._view(entry, factor)[t : t + e, b : b + e].copy()), turn % 8)
        return cut

    def _view(self, entry: dict[str, Any], factor: int) -> "np.ndarray":
        height, width = entry["height"] // factor, entry["width"] // factor
        start = entry["offsets"][str(factor)]
        return self._maps[factor][start : start + height * width * 3].reshape(height, width, 3)


def prepare(folder: Path, photographs: Iterable[tuple[str, Float[Tensor, "1 3 _ _"]]], factors: Sequence[int]) -> None:
    """Write a set that `Patches.open` reads: every photograph, cropped to a multiple, at every reduction."""
    folder.mkdir(parents=True, exist_ok=True)
    entries: list[dict[str, Any]] = []
    files = {factor: _pixels(folder, factor).open("wb") for factor in factors}
    try:
        for name, photograph in photographs:
            high = crop_to_multiple(photograph, max(factors))
            levels = torch.floor(high * 255 + 0.5).to(torch.uint8)
            offsets = {str(factor): file.tell() for factor, file in files.items()}
            entries.append({"name": name, "height": high.shape[-2], "width": high.shape[-1], "offsets": offsets})
            for factor, file in files.items():
                reduced = levels if factor == 1 else resize.cubic_uint8(levels, 1 / factor)
                file.write(reduced[0].permute(1, 2, 0).contiguous().numpy().tobytes())
    finally:
        for file in files.values():
            file.close()
    index = {"factors": list(factors), "photographs": entries}
    write_bytes(folder / "index.json", json.dumps(index, indent=1).encode())


def crop_to_multiple(image: Float[Tensor, "b c h w"], multiple: int) -> Float[Tensor, "b c H W"]:
    """Crop to a multiple, anchored at the top left (the field's modcrop)."""
    height, width = (extent // multiple * multiple for extent in image.shape[-2:])
    return image[..., :height, :width]


def _pixels(folder: Path, factor: int) -> Path:
    return folder / f"x{factor}.bin"


def _texture(patch: "np.ndarray") -> float:
    """Logarithm of the mean squared forward difference, image range [0, 1] (MZSR's patch filter)."""
    levels = patch.astype(np.float32) / 255
    down = levels[1:, :-1] - levels[:-1, :-1]
    right = levels[:-1, 1:] - levels[:-1, :-1]
    return float(np.log((down**2 + right**2).mean() + 1e-10))


def _turn(pixels: Tensor, which: int) -> Tensor:
    """Apply one of the square's eight symmetries to `h w c` pixels."""
    if which >= 4:
        pixels = pixels.flip(1)
    return torch.rot90(pixels, which % 4, dims=(0, 1))

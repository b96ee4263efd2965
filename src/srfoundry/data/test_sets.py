"""Fixed degraded test sets: every held-out photograph reduced bicubically, under each test kernel, and blindly."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.core.atomic import write_bytes
from srfoundry.core.errors import FoundryError
from srfoundry.core.parallel import Map
from srfoundry.core.seeds import generator
from srfoundry.data import blind_sets
from srfoundry.data.resuming import settle
from srfoundry.degradation import kernel_files, kernels, operator
from srfoundry.degradation.blurred_sets import BLURRED
from srfoundry.degradation.settings import Corruption
from srfoundry.imaging import decoded, images, resize

BICUBIC = "bicubic"


@dataclass(frozen=True)
class Recipe:
    """How the test images of one scale are made.

    Attributes:
        kernels: by the name of their test set.
        corruption: noise and compression of these.
        seed: of the noise, with the names of the test set and of the photograph; of the blind sets likewise.
        blind: the blind sets, names of `blind_sets.SETS`.
    """

    scale: int
    kernels: Mapping[str, Float[Tensor, "1 k k"]]
    corruption: Corruption
    seed: int
    blind: Sequence[str] = ()


def kernels_of_tests(size: int) -> dict[str, Float[Tensor, "1 k k"]]:
    """The test kernels by the name of their set, `size` taps a side, in double precision."""
    values = {name: (torch.tensor([value], dtype=torch.float64) for value in row) for name, row in BLURRED.items()}
    return {name: kernels.gaussian(size, *row) for name, row in values.items()}


def write(folder: Path, photographs: Mapping[str, Path], recipe: Recipe, *, mapped: Map) -> None:
    """Write high/NAME.png, bicubic/NAME.png and TEST/NAME.png for every photograph; the same bytes for any `mapped`.

    Beside a blind set lie its kernels, TEST_kernels/NAME.npy, and TEST.json: the seed, and all that was drawn.

    Args:
        folder: of the test sets.
        photographs: their files by name.
        recipe: how the test images are made.
        mapped: how to go through the photographs.

    Raises:
        FoundryError: a photograph cannot be read.
    """
    items = list(photographs.items())
    drawn = list(mapped(partial(_write, folder.absolute(), recipe), items, f"degrading {folder.name}"))
    for test in recipe.blind:
        facts = {name: row[test] for (name, _), row in zip(items, drawn, strict=True)}
        head = {"set": test, "scale": recipe.scale, "seed": recipe.seed, "grid": "MATLAB's bicubic", "noise_of": 255}
        write_bytes(folder / f"{test}.json", (json.dumps({**head, "photographs": facts}, indent=1) + "\n").encode())


def read(folder: Path, name: str) -> tuple[Float[Tensor, "1 3 H W"], dict[str, Float[Tensor, "1 3 h w"]]]:
    """A photograph of a test set and the images that were made of it, by the name of their set."""
    high = images.read(folder / "high" / f"{name}.png")
    made = [test for test in (BICUBIC, *BLURRED, *blind_sets.SETS) if (folder / test).is_dir()]
    return high, {test: images.read(folder / test / f"{name}.png") for test in made}


def exact(path: Path, scale: int) -> Float[Tensor, "1 3 H W"]:
    """Read a photograph, cropped to a multiple of the scale, in double precision.

    The authors' programs degrade in double precision: a value halfway between two levels is then rounded as theirs is.

    Raises:
        FoundryError: it cannot be read, or is smaller than the scale.
    """
    levels = torch.from_numpy(decoded.read(path)[None])
    height, width = (extent // scale * scale for extent in levels.shape[1:3])
    if not height * width:
        raise FoundryError(f"{path} is {levels.shape[2]}x{levels.shape[1]}, smaller than the scale {scale}; lower it")
    return images.from_uint8(levels[:, :height, :width], torch.float64)


def _write(folder: Path, recipe: Recipe, photograph: tuple[str, Path]) -> dict[str, Any]:
    """Write one photograph's images; returns what was drawn for it, by blind set."""
    name, path = photograph
    high = exact(path, recipe.scale)
    levels = images.to_uint8(high)
    reduced = resize.cubic_uint8(levels.permute(0, 3, 1, 2), 1 / recipe.scale).permute(0, 2, 3, 1)
    made, drawn = {"high": high, BICUBIC: images.from_uint8(reduced)}, dict[str, Any]()
    for test, kernel in recipe.kernels.items():
        rng = generator(recipe.seed, test, name)
        made[test] = operator.corrupt(operator.degrade(high, kernel, recipe.scale), recipe.corruption, rng=rng)
    for test in recipe.blind:
        sample = blind_sets.SETS[test](high, recipe.scale, rng=generator(recipe.seed, test, name))
        made[test], drawn[test] = sample.low, sample.facts
        if sample.kernel is not None:
            beside = f"{test}_kernels/{name}.npy"
            kernel_files.save(sample.kernel, folder / beside)
            settle(folder / beside)
            drawn[test] = {**sample.facts, "kernel": beside}
    for kind, image in made.items():
        path = folder / kind / f"{name}.png"
        images.write(image.float(), path)
        settle(path)
    return drawn

"""Fixed degraded test sets: every held-out photograph, reduced bicubically and under each test kernel."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.core.errors import FoundryError
from srfoundry.core.parallel import Map
from srfoundry.core.seeds import generator
from srfoundry.degradation import operator
from srfoundry.imaging import images, resize

BICUBIC = "bicubic"


@dataclass(frozen=True)
class Recipe:
    """How the test images of one scale are made.

    Attributes:
        kernels: by the name of their test set.
        noise: standard deviation of white noise, image range [0, 1].
        jpeg: quality of a compression at the end, or None.
        seed: of the noise, with the names of the test set and of the photograph.
    """

    scale: int
    kernels: Mapping[str, Float[Tensor, "1 k k"]]
    noise: float = 0.0
    jpeg: int | None = None
    seed: int = 0


def write(folder: Path, photographs: Mapping[str, Path], recipe: Recipe, *, mapped: Map) -> None:
    """Write high/NAME.png, bicubic/NAME.png and TEST/NAME.png for every photograph; the same bytes for any `mapped`.

    Raises:
        FoundryError: a photograph cannot be read.
    """
    for _ in mapped(partial(_write, folder.absolute(), recipe), list(photographs.items()), f"degrading {folder.name}"):
        pass


def exact(path: Path, scale: int) -> Float[Tensor, "1 3 H W"]:
    """Read a photograph, cropped to a multiple of the scale, in double precision.

    The authors' programs degrade in double precision: a value halfway between two levels is then rounded as theirs is.

    Raises:
        FoundryError: it cannot be read, or is smaller than the scale.
    """
    levels = images.to_uint8(images.read(path))
    height, width = (extent // scale * scale for extent in levels.shape[1:3])
    if not height * width:
        raise FoundryError(f"{path} is {levels.shape[2]}x{levels.shape[1]}, smaller than the scale {scale}; lower it")
    return images.from_uint8(levels[:, :height, :width], torch.float64)


def _write(folder: Path, recipe: Recipe, photograph: tuple[str, Path]) -> None:
    name, path = photograph
    high = exact(path, recipe.scale)
    levels = images.to_uint8(high)
    reduced = resize.cubic_uint8(levels.permute(0, 3, 1, 2), 1 / recipe.scale).permute(0, 2, 3, 1)
    made = {"high": high, BICUBIC: images.from_uint8(reduced)}
    for test, kernel in recipe.kernels.items():
        rng = generator(recipe.seed, test, name)
        low = operator.add_noise(operator.degrade(high, kernel, recipe.scale), recipe.noise, rng=rng)
        made[test] = low if recipe.jpeg is None else operator.jpeg(low, recipe.jpeg)
    for kind, image in made.items():
        images.write(image.float(), folder / kind / f"{name}.png")

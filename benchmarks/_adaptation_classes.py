"""Photographs by what an image can teach about itself: repeated structure, texture or smooth, by a rule."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from benchmarks import _exactness
from srfoundry.core.progress import track
from srfoundry.core.seeds import generator
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.imaging import decoding, images, resize

SCALE = 2
CLASSES: tuple[str, ...] = ("repeated", "texture", "smooth")
SIDE = 320  # pixels of a photograph's middle that are looked at, and measured
PATCH, STRIDE = 7, 6  # pixels of the half-size image
BUSY = 4e-4  # variance of a patch from which on it counts: five grey levels
VARIANCES = (0.8, 5.0)  # of the kernels, px^2


@dataclass(frozen=True)
class Texture:
    """What is counted of a photograph at half its size, where it is nearer to the low-resolution image.

    Attributes:
        busy: share of the patches that are not flat.
        contrast: mean step between neighbours, grey levels.
        apart: squared distance of busy patches from the nearest patch of the image at half that size, a share of their
            energy: 0 where the image repeats itself across scales.
    """

    busy: float
    contrast: float
    apart: float

    @property
    def name(self) -> str | None:
        """The class; None for what is none of the three clearly."""
        if self.busy >= 0.4 and self.apart < 0.25:
            return "repeated"
        if self.busy < 0.55 and self.contrast < 7:
            return "smooth"
        return "texture" if self.busy > 0.85 and self.apart > 0.35 else None

    @classmethod
    def of(cls, high: Float[Tensor, "1 3 H W"]) -> "Texture":
        """Look at a photograph."""
        grey = resize.cubic(high.float().mean(dim=1, keepdim=True), 1 / SCALE)
        patches, smaller = _patches(grey, STRIDE), _patches(resize.cubic(grey, 1 / SCALE), 1)
        energy = patches.square().sum(dim=1)
        busy = energy > PATCH**2 * BUSY
        contrast = 255 * float(grey.diff(dim=-1).abs().mean())
        if not bool(busy.any()):
            return cls(0.0, contrast, 1.0)
        apart = torch.cdist(patches[busy], smaller).amin(dim=1).square().sum() / energy[busy].sum()
        return cls(float(busy.float().mean()), contrast, float(apart))


@dataclass(frozen=True)
class Case:
    """A photograph, a Gaussian and the low-resolution image that they make; range [0, 1]."""

    group: str
    name: str
    high: Float[Tensor, "1 3 H W"]
    low: Float[Tensor, "1 3 h w"]
    kernel: Float[Tensor, "1 k k"]
    blur: tuple[float, float, float]
    """Variances in px^2 and the angle."""

    @classmethod
    def made(cls, group: str, name: str, high: Tensor, seed: int) -> "Case":
        """Degrade a photograph by a Gaussian of its own, of 8 bits as in the paper's protocol."""
        drawn = torch.rand(3, generator=generator(seed, "adaptation", group, name)).tolist()
        least, most = VARIANCES
        first, second = (least + (most - least) * one for one in drawn[:2])
        blur = (first, second, 3.1416 * drawn[2])
        low = _exactness.reduced(high.double(), SCALE, (*blur, "direct")).float()
        return cls(group, name, high.float(), low, _exactness.taps((*blur, "direct")).float(), blur)

    def smaller(self, side: int) -> "Case":
        """The middle of the photograph, at most so many pixels a side, under the same blur."""
        high = middle(self.high, side)
        low = _exactness.reduced(high.double(), SCALE, (*self.blur, "direct")).float()
        return replace(self, high=high, low=low)

    @property
    def observation(self) -> Observation:
        """With the true kernel."""
        return Observation(self.low, self.kernel, Sampling(SCALE))


def classes(folder: Path, count: int, seed: int) -> Iterator[Case]:
    """Yield `count` cases a class, of photographs below a folder in an order of the seed's."""
    paths = sorted(decoding.find(folder), key=lambda path: path.as_posix())
    order = torch.randperm(len(paths), generator=generator(seed, "adaptation", "photographs")).tolist()
    left: dict[str, int] = dict.fromkeys(CLASSES, count)
    for index in track(order, "classes"):
        high = middle(images.read(paths[index]))
        kind = Texture.of(high).name if min(high.shape[-2:]) >= SIDE // 2 else None
        if kind is not None and left[kind]:
            left[kind] -= 1
            yield Case.made(kind, paths[index].stem, high, seed)
        if not any(left.values()):
            return


def tests(folder: Path, sets: list[str], count: int, seed: int, side: int) -> Iterator[Case]:
    """Yield the middles of the first `count` photographs of each test set, each with a kernel of its own."""
    for name in sets:
        found = sorted((folder / name).glob("*.png"))[:count]
        for path, high in zip(found, _exactness.photographs(folder / name, SCALE), strict=False):
            yield Case.made(name, path.stem, middle(high, side), seed)


def middle(image: Float[Tensor, "1 3 H W"], side: int = SIDE) -> Float[Tensor, "1 3 h w"]:
    """The middle of a photograph, at most `side` pixels a side, a multiple of the scale's square."""
    sides = [min(extent, side) // SCALE**2 * SCALE**2 for extent in image.shape[-2:]]
    starts = [(extent - side) // 2 for extent, side in zip(image.shape[-2:], sides, strict=True)]
    return image[..., starts[0] : starts[0] + sides[0], starts[1] : starts[1] + sides[1]]


def _patches(image: Float[Tensor, "1 1 h w"], stride: int) -> Float[Tensor, "n p"]:
    found = F.unfold(image, PATCH, stride=stride)[0].T
    return found - found.mean(dim=1, keepdim=True)

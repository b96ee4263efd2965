"""How results look: without an original by NIQE, with one by PSNR and SSIM beside it; the pictures: reporting/looks."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from srfoundry.imaging import images, metrics, niqe, resize, windows

LARGEST = 2048  # pixels a side that NIQE looks at, the middle of a larger image: its maps take 50 bytes a pixel
FREE = {  # photographs inside the wheels that no model here learns from by default, as cameras and the web gave them
    # James S. Davis, US Navy: public domain; the file has been the same in all versions
    "matplotlib": ["mpl-data/sample_data/grace_hopper.jpg"],
    "skimage.data": [
        "rocket.jpg",  # SpaceX: CC0
        "chelsea.png",  # Stefan van der Walt: CC0
    ],
    "sklearn.datasets.images": ["flower.jpg"],  # vultilion: CC BY 2.0
}


@runtime_checkable  # for the shape checks of the tests
class Enlarge(Protocol):
    """Enlarges an image, range [0, 1]; what comes out may leave that range."""

    def __call__(self, low: Float[Tensor, "1 3 h w"], /) -> Float[Tensor, "1 3 H W"]: ...


@dataclass(frozen=True)
class Look:
    """One image and what became of it.

    Attributes:
        name: of the image.
        low: as it was given, range [0, 1].
        shown: enlarged, of 8 bits, by name; bicubic first.
        high: the original, where there is one.
    """

    name: str
    low: Float[Tensor, "1 3 h w"]
    shown: Mapping[str, Float[Tensor, "1 3 H W"]]
    high: Float[Tensor, "1 3 H W"] | None = None

    @property
    def scale(self) -> int:
        """By which it was enlarged."""
        return next(iter(self.shown.values())).shape[-1] // self.low.shape[-1]

    def scores(self) -> dict[str, dict[str, float]]:
        """By name: psnr_y and ssim_y where there is an original, niqe where the image is large enough."""
        found: dict[str, dict[str, float]] = {}
        for name, image in self.shown.items():
            found[name] = {}
            if self.high is not None:
                found[name] |= metrics.scores(image, self.high, self.scale)
            natural = niqe.niqe(_middle(image), 0 if self.high is None else self.scale)
            if natural is not None:
                found[name]["niqe"] = natural
        return found


def look(
    name: str,
    low: Float[Tensor, "1 3 h w"],
    members: Mapping[str, Enlarge],
    scale: int,
    high: Float[Tensor, "1 3 H W"] | None = None,
) -> Look:
    """Enlarge an image bicubically and by each member; all are rounded to 8 bits, as files are."""
    shown = {"bicubic": resize.cubic(low, scale), **{member: enlarge(low) for member, enlarge in members.items()}}
    rounded = {member: images.from_uint8(images.to_uint8(image)).cpu() for member, image in shown.items()}
    return Look(name, low.cpu(), rounded, high)


def summary(scores: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """By name, over images: mean, median and worst NIQE, and of how many; what has no score is left out.

    Args:
        scores: of `Look.scores`, one an image.
    """
    found: dict[str, list[float]] = {}
    for each in scores:
        for name, row in each.items():
            if "niqe" in row:
                found.setdefault(name, []).append(row["niqe"])
    return {
        name: {
            "niqe_mean": statistics.fmean(values),
            "niqe_median": statistics.median(values),
            "niqe_worst": max(values),
            "images": len(values),
        }
        for name, values in found.items()
    }


def free_photographs() -> list[Path]:
    """Freely licensed photographs inside the installed packages, of the sizes that the web has them in."""
    return [Path(str(files(package))) / name for package, names in FREE.items() for name in names]


def _middle(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    tall, wide = min(height, LARGEST), min(width, LARGEST)
    return windows.crop(image, ((height - tall) // 2, (width - wide) // 2, tall, wide))

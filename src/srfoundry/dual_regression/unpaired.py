"""Low-resolution images without a photograph: read from a folder, cut into windows, put behind a batch's pairs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.core.errors import FoundryError
from srfoundry.degradation import kernel_files, kernels, operator
from srfoundry.dual_regression.batch import DegradedBatch, reduced_alone
from srfoundry.imaging import decoding, images

BESIDE = ("_kernel.npy", "_restored_kernel.npy")  # endings of a kernel's file beside its image


@dataclass(frozen=True, kw_only=True)
class Unpaired:
    """Low-resolution images without a photograph, which only the dual term sees.

    Args:
        images: patch / scale pixels a side or more.
        share: of each batch, rounded to whole images; at least one pair stays.
        kernels: of each image the kernel that is taken for its blur, for direct decimation onto the grid of MATLAB's
            bicubic; without them the dual map must be one that needs none.
    """

    images: Sequence[Float[Tensor, "1 3 _ _"]] = ()
    share: float = 0.0
    kernels: Sequence[Float[Tensor, "1 k k"]] = ()

    def count(self, batch: int) -> int:
        """How many of a batch's rows they are."""
        return min(round(batch * self.share), batch - 1) if self.images else 0


def read_unpaired(folder: Path, size: int) -> list[Float[Tensor, "1 3 h w"]]:
    """Every image of a folder, sorted by name: low-resolution ones without a photograph.

    Raises:
        FoundryError: the folder is missing or empty, or an image is smaller than `size` pixels a side or unreadable.
    """
    found = {path: images.read(path) for path in decoding.find(folder)}
    for path, image in found.items():
        if min(image.shape[-2:]) < size:
            shape = "x".join(map(str, image.shape[-2:]))
            raise FoundryError(f"{path} ({shape}) is smaller than a low-resolution patch of {size}; remove it")
    return list(found.values())


def read_kernels(folder: Path, scale: int) -> list[Float[Tensor, "1 k k"]]:
    """The kernel that was estimated for each image of a folder, in the order of `read_unpaired`.

    NAME_kernel.npy stands beside NAME.jpg, as `srfoundry restore` writes it.

    Raises:
        FoundryError: an image has no kernel, or a file holds none.
    """
    found = []
    for path in decoding.find(folder):
        beside = [file for ending in BESIDE if (file := path.with_name(path.stem + ending)).exists()]
        if not beside:
            raise FoundryError(
                f"{path} has no kernel, got no {path.stem}{BESIDE[0]}; run: srfoundry restore {folder} --out {folder}, "
                "or set dual_map to learned"
            )
        found.append(moved(kernel_files.read(beside[0]), scale))
    return found


def moved(kernel: Float[Tensor, "1 k k"], scale: int) -> Float[Tensor, "1 j j"]:
    """An estimated kernel, centred on its middle tap, moved so that direct decimation lands on the grid of bicubic.

    The networks work on that grid of MATLAB's; an image alone does not show which of the two it is on.
    """
    offset = (scale - 1) / 2
    room = math.ceil(offset)
    return kernels.centred(functional.pad(kernel, (room, room, room, room)), offset)


@dataclass(frozen=True)
class Window:
    """A piece of a source, flipped left to right if `turn` is 4 or more, then turned `turn` quarters.

    Args:
        image: the piece as the net's input, 3 p p.
        source: the number of its source.
        turn: 0 to 7.
    """

    image: Float[Tensor, "3 p p"]
    source: int
    turn: int

    def turned(self, image: Float[Tensor, "... h w"]) -> Float[Tensor, "... _ _"]:
        """An image of the source's orientation in the window's."""
        image = image.flip(-1) if self.turn >= 4 else image
        return torch.rot90(image, self.turn % 4, (-2, -1))

    def back(self, image: Float[Tensor, "... h w"]) -> Float[Tensor, "... _ _"]:
        """An image of the window's orientation in the source's."""
        image = torch.rot90(image, -(self.turn % 4), (-2, -1))
        return image.flip(-1) if self.turn >= 4 else image


def windows(
    sources: Sequence[Float[Tensor, "1 3 _ _"]], *, count: int, size: int, rng: torch.Generator
) -> list[Window]:
    """Random windows of `size` pixels a side, sources drawn evenly, flipped and rotated (8 ways)."""
    found = []
    for which, top, left, turn in torch.randint(2**31, (count, 4), generator=rng).tolist():
        image = sources[which % len(sources)][0]
        top, left = top % (image.shape[-2] - size + 1), left % (image.shape[-1] - size + 1)
        cut = Window(image[:, top : top + size, left : left + size], which % len(sources), turn % 8)
        found.append(replace(cut, image=cut.turned(cut.image)))
    return found


def with_unpaired(
    batch: dict[int, Tensor], cut: Sequence[Window], kernels: Sequence[Float[Tensor, "1 k k"]], scale: int
) -> dict[int, Tensor]:
    """The batch with windows of images without a photograph behind its smallest images.

    With kernels the batch knows their operators, too: blur with each one's own kernel, in the source's orientation.

    Args:
        batch: of pairs.
        cut: the windows.
        kernels: of the sources; none where no operator of theirs is asked for.
        scale: of the network.
    """
    low = torch.stack([window.image for window in cut]).to(batch[scale])
    whole = {**batch, scale: torch.cat([batch[scale], low])}
    if not isinstance(batch, DegradedBatch):
        if not kernels:
            return whole
        batch = reduced_alone(batch, scale)
    if not kernels:
        return DegradedBatch(whole, batch.operator, batch.kernels, batch.known, batch.whole)
    own, first = [kernels[window.source].to(low) for window in cut], batch.operator

    def apply(image: Tensor) -> Tensor:
        made = [
            window.turned(operator.degrade(window.back(each[None]), kernel, scale))
            for window, kernel, each in zip(cut, own, image[-len(cut) :], strict=True)
        ]
        return torch.cat([first(image[: -len(cut)]), *made])

    return DegradedBatch(whole, apply, batch.kernels, batch.known, batch.whole)

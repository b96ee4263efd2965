"""What the program does to files: which there are, where results go, and enlarging them with a model.

program.py parses, commands.py prints; here is the work, callable from Python too.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.core.errors import FoundryError
from srfoundry.imaging import decoding, tiling, user_image

TILE = 256  # low-resolution pixels a side where a model suggests nothing


@runtime_checkable  # for the shape checks of the tests
class Model(Protocol):
    """What enlarges an image in [0, 1]: a Session, or TorchModel."""

    scale: int

    def run(self, low: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c H W"]: ...


class TorchModel:
    """A checkpoint, run by PyTorch with the interface of Session."""

    def __init__(self, path: Path, device: torch.device) -> None:
        from srfoundry.deployment.export import OnnxNet
        from srfoundry.deployment.session import padded
        from srfoundry.networks.zoo import cards
        from srfoundry.networks.zoo.architectures import ARCHITECTURES

        net, self.card = cards.load(path)
        if ARCHITECTURES[self.card.arch["name"]].role == "dual":
            raise FoundryError(f"{path} is a dual map, which makes images smaller; take the network that it belongs to")
        self.scale = self.card.scale
        self.overlap = tiling.overlap_for(net, TILE)
        self._net = OnnxNet(net).to(device)
        self._padded, self._device = padded, device

    def run(self, low: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c H W"]:
        with torch.inference_mode():
            return self._padded(self._net, low.to(self._device), self.card.multiple_of, self.scale).cpu()


@dataclasses.dataclass(frozen=True)
class Job:
    """One image to read and the file to write."""

    source: Path
    target: Path


def plan(source: Path, out: Path | None, suffix: str) -> list[Job]:
    """Which files `source` (an image or a folder, nested ones too) stands for, and where each result goes.

    An image NAME goes to NAME_SUFFIX.png beside it, a folder to FOLDER_SUFFIX/ with the same tree inside.

    Args:
        source: an image or a folder.
        out: the file or folder to write instead.
        suffix: of the results' names.

    Raises:
        FoundryError: nothing there, or a result would replace its own source.
    """
    if source.is_dir():
        folder = out or source.resolve().with_name(f"{source.resolve().name}_{suffix}")
        if folder.is_file():
            raise FoundryError(f"{source} is a folder, so --out must be one too, got the file {folder}; name a folder")
        found = [path for path in decoding.find(source) if folder.resolve() not in path.resolve().parents]
        stems = Counter(path.with_suffix("") for path in found)
        jobs = []
        for path in found:
            relative = path.relative_to(source)
            twin = stems[path.with_suffix("")] > 1  # a.jpg and a.png: keep both
            name = f"{path.stem}_{path.suffix[1:]}.png" if twin else f"{path.stem}.png"
            jobs.append(Job(path, folder / relative.with_name(name)))
    else:
        target = out or source.with_name(f"{source.stem}_{suffix}.png")
        target = target / f"{source.stem}_{suffix}.png" if target.is_dir() or not target.suffix else target
        jobs = [Job(source, target)]
    if not jobs:
        raise FoundryError(f"{source} holds no image outside of the results' own folder; name another place with --out")
    for job in jobs:
        if job.target.resolve() == job.source.resolve():
            raise FoundryError(f"the result would replace its own source {job.source}; name another place with --out")
    return jobs


def upscale(
    jobs: Sequence[Job],
    model: Model,
    *,
    tile: int,
    overlap: int,
    progress: tiling.Progress | None = None,
) -> Iterator[tuple[Job, FoundryError | None]]:
    """Enlarge the images one by one; yields each job with its error, None where it went well.

    Args:
        jobs: what to read and to write.
        model: what enlarges.
        tile: input pixels a side that run at once.
        overlap: input pixels that a tile reaches into its neighbours.
        progress: called after each tile.
    """
    tiling.check(tile, overlap)
    for job in jobs:
        try:
            original = user_image.read(job.source)
            user_image.check_target(original, job.target)
            pixels = tiling.tiled_uint8(
                model.run, original.image, model.scale, tile=tile, overlap=overlap, progress=progress
            )
            user_image.write(pixels[0].numpy(), original, job.target)
        except FoundryError as error:
            yield job, error
        else:
            yield job, None

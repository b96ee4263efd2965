"""What the program does to files: enlarge one image or a folder of them, restore an image of unknown blur.

cli.py parses and prints; here is the work, callable from Python too.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry import adaptation, degrade, images, photograph, report, resize, restore
from srfoundry.errors import FoundryError

if TYPE_CHECKING:
    from torch.nn import Module

TILE = 256  # low-resolution pixels a side where a model suggests nothing
LOOK = 768  # low-resolution pixels a side that the kernel is estimated from, at most
ADAPT = 384  # and that the network adapts on: its gradients hold every feature map


@runtime_checkable  # for the shape checks of the tests
class Model(Protocol):
    """What enlarges an image in [0, 1]: export.Session, or TorchModel."""

    scale: int

    def run(self, low: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c H W"]: ...


class TorchModel:
    """A checkpoint, run by PyTorch with the interface of export.Session."""

    def __init__(self, path: Path, device: torch.device) -> None:
        from srfoundry import checkpoint, export

        net, self.card = checkpoint.load(path)
        self.scale = self.card.scale
        self.overlap = restore.overlap_for(net, TILE)
        self._net = export.OnnxNet(net).to(device)
        self._padded, self._device = export.padded, device

    def run(self, low: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c H W"]:
        with torch.inference_mode():
            return self._padded(self._net, low.to(self._device), self.card.multiple_of, self.scale).cpu()


@dataclasses.dataclass(frozen=True)
class Job:
    """One image to read and the file to write."""

    source: Path
    target: Path


def plan(source: Path, out: Path | None, scale: int) -> list[Job]:
    """Which files `source` (an image or a folder, nested ones too) stands for, and where each result goes.

    An image NAME goes to NAME_xS.png beside it, a folder to FOLDER_xS/ with the same tree inside.

    Raises:
        FoundryError: nothing there, or a result would replace its own source.
    """
    if source.is_dir():
        folder = out or source.resolve().with_name(f"{source.resolve().name}_x{scale}")
        if folder.is_file():
            raise FoundryError(f"{source} is a folder, so --out must be one too, got the file {folder}; name a folder")
        found = [path for path in images.find(source) if folder.resolve() not in path.resolve().parents]
        stems = [path.with_suffix("") for path in found]
        jobs = []
        for path, stem in zip(found, stems, strict=True):
            relative = path.relative_to(source)
            twin = stems.count(stem) > 1  # a.jpg and a.png: keep both
            name = f"{path.stem}_{path.suffix[1:]}.png" if twin else f"{path.stem}.png"
            jobs.append(Job(path, folder / relative.with_name(name)))
    else:
        target = out or source.with_name(f"{source.stem}_x{scale}.png")
        target = target / f"{source.stem}_x{scale}.png" if target.is_dir() or not target.suffix else target
        jobs = [Job(source, target)]
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
    progress: restore.Progress | None = None,
) -> Iterator[tuple[Job, FoundryError | None]]:
    """Enlarge the images one by one; yields each job with its error, None where it went well."""
    restore.check(tile, overlap)
    for job in jobs:
        try:
            original = photograph.read(job.source)
            photograph.check_target(original, job.target)
            pixels = restore.tiled_uint8(
                model.run, original.image, model.scale, tile=tile, overlap=overlap, progress=progress
            )
            photograph.write(pixels, original, job.target)
        except FoundryError as error:
            yield job, error
        else:
            yield job, None


@dataclasses.dataclass(frozen=True)
class Restoration:
    """What blind restoration found: the image, its kernel, and how well the two explain the input, in dB."""

    restored: Float[Tensor, "1 3 H W"]
    bicubic: Float[Tensor, "1 3 H W"]
    kernel: Float[Tensor, "1 k k"]
    losses: list[float]  # of adaptation, before each step
    consistency: float  # PSNR between the input and the restored image, blurred and decimated again
    consistency_bicubic: float  # the same for the bicubic image


def blind(
    low: Float[Tensor, "1 3 h w"],
    net: "Module",
    scale: int,
    *,
    kernel: Float[Tensor, "1 k k"],
    rates: Sequence[float],
    tile: int = TILE,
    device: torch.device,
    progress: restore.Progress | None = None,
) -> Restoration:
    """Adapt the net on the image's own reduced copy made with `kernel`, restore, check D(restored) against the input.

    Adaptation sees the busiest `ADAPT` pixels a side of a large image, so that time and memory stay bounded; the
    adapted net then runs over tiles. Estimate the kernel of `window(low, LOOK)` before, for the same reason.

    Raises:
        FoundryError: the image is too small to adapt on.
    """
    net = net.to(device)
    kernel = kernel.detach().float().cpu()
    weights, losses = adaptation.adapt(net, window(low, ADAPT).to(device), kernel.to(device), scale, rates=rates)

    def run(piece: Tensor) -> Tensor:
        return adaptation.restore(net, piece.to(device), scale, weights=weights).cpu()

    restored = restore.tiled(run, low, scale, tile=tile, overlap=overlap(net), progress=progress)
    bicubic = resize.cubic(low, scale).clamp(0, 1)
    return Restoration(
        restored=restored,
        bicubic=bicubic,
        kernel=kernel,
        losses=losses,
        consistency=consistency(restored, low, kernel, scale),
        consistency_bicubic=consistency(bicubic, low, kernel, scale),
    )


def window(low: Float[Tensor, "1 3 h w"], side: int) -> Float[Tensor, "1 3 p q"]:
    """The busiest `side` x `side` pixels of an image, or all of a smaller one."""
    top, left, height, width = report.busiest(low, side)
    return low[..., top : top + height, left : left + width]


def overlap(net: "Module") -> int:
    """Pixels that the tiles of an MZSR net share on each side; it looks `reach` enlarged pixels far."""
    return 2 * int(getattr(net, "reach", 16))


def consistency(
    restored: Float[Tensor, "1 3 H W"], low: Float[Tensor, "1 3 h w"], kernel: Float[Tensor, "1 k k"], scale: int
) -> float:
    """PSNR in dB over RGB between the input and the restored image after the same blur and decimation: D(SR) = LR."""
    again = degrade.degrade(restored, kernel, scale)
    error = (again - low).square().mean().clamp_min(1e-12)
    return float(-10 * torch.log10(error))

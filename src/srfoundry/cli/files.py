"""Enlarging image files with a model. plan.py says which, commands.py prints; here is the work."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.cli.batch import Outcome, attempt
from srfoundry.cli.plan import Job, Plan
from srfoundry.core.errors import FoundryError
from srfoundry.core.progress import Bars, bar
from srfoundry.imaging import tiling, user_image

TILE = 256  # low-resolution pixels a side where a model suggests nothing
OTHERWISE = {  # what networks are that do not enlarge by themselves
    "dual": "is a dual map, which makes images smaller; take the network that it belongs to",
    "adaptive": "holds a network that adapts to an image's blur; it is for 'srfoundry restore --model'",
    "nonblind": "holds a network that must be told an image's blur; it is for 'srfoundry restore --model'",
    "corrector": "holds a network that corrects kernels and makes no image; take one that enlarges",
}


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
        role = ARCHITECTURES[self.card.arch["name"]].role
        if role != "primal":
            raise FoundryError(f"{path} {OTHERWISE[role]}")
        self.scale = self.card.scale
        self.overlap = tiling.overlap_for(net, TILE)
        self._net = OnnxNet(net).to(device)
        self._padded, self._device = padded, device

    def run(self, low: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c H W"]:
        with torch.inference_mode():
            return self._padded(self._net, low.to(self._device), self.card.multiple_of, self.scale).cpu()


def upscale_file(job: Job, model: Model, *, tile: int, overlap: int, progress: tiling.Progress | None = None) -> None:
    """Enlarge one image.

    Args:
        job: what to read and to write.
        model: what enlarges.
        tile: input pixels a side that run at once.
        overlap: input pixels that a tile reaches into its neighbours.
        progress: called after each tile.

    Raises:
        FoundryError: the image cannot be read, or the result not written.
    """
    original = user_image.read(job.source)
    user_image.check_target(original, job.target)
    pixels = tiling.tiled_uint8(model.run, original.image, model.scale, tile=tile, overlap=overlap, progress=progress)
    user_image.write(pixels[0].numpy(), original, job.target)


def upscale_files(planned: Plan, model: Model, *, tile: int, overlap: int) -> Iterator[Outcome[None]]:
    """Enlarge images one after another, under a bar; yields each job with its error, None where it went well."""
    tiling.check(tile, overlap)
    advice = f"run smaller tiles with --tile (now {tile}), or cut it into parts"

    def one(progress: tiling.Progress, job: Job) -> None:
        upscale_file(job, model, tile=tile, overlap=overlap, progress=progress)

    if not planned.batch:  # its bar begins once the image is read and found good
        with Bars() as bars:
            for job in planned.jobs:
                yield attempt(job, partial(one, bars("upscale")), batch=False, advice=advice)
        return
    tiles = {job: tiling.count(*user_image.size(job.source), tile, overlap) for job in planned.jobs}
    with bar("upscale", sum(tiles.values())) as progress:
        done = 0

        def tick(_done: int, _total: int) -> None:
            progress.update(1)

        for job in planned.jobs:
            yield attempt(job, partial(one, tick), batch=True, advice=advice)
            done += tiles[job]
            progress.update(done - progress.n)  # an image that failed counts as done
            progress.set_postfix_str(job.source.name)

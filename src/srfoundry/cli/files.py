"""Enlarging image files with a model. plan.py says which, commands.py prints; here is the work."""

from collections.abc import Iterator
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from srfoundry.cli.batch import Outcome, attempt
from srfoundry.cli.plan import Job, Plan
from srfoundry.core.progress import Bars, bar
from srfoundry.imaging import tiling, user_image
from srfoundry.imaging.user_image import USUAL, Handling


@runtime_checkable  # for the shape checks of the tests
class Model(Protocol):
    """What enlarges an image in [0, 1]: a Session, or TorchModel."""

    scale: int

    def run(self, low: Float[np.ndarray, "b c h w"]) -> Float[np.ndarray, "b c H W"]: ...


def upscale_file(
    job: Job,
    model: Model,
    *,
    tile: int,
    overlap: int,
    how: Handling = USUAL,
    progress: tiling.Progress | None = None,
) -> None:
    """Enlarge one image.

    Args:
        job: what to read and to write.
        model: what enlarges.
        tile: side of the largest square that runs at once, input pixels.
        overlap: input pixels that a tile reaches into its neighbours.
        how: to read and write files.
        progress: called after each tile.

    Raises:
        FoundryError: the image cannot be read, or the result not written.
    """
    original = user_image.read(job.source, how)
    user_image.check_target(original, job.target, model.scale)
    pixels = tiling.tiled_uint8(model.run, original.pixels, model.scale, tile=tile, overlap=overlap, progress=progress)
    user_image.write(pixels, original, job.target, how)


def upscale_files(
    planned: Plan, model: Model, *, tile: int, overlap: int, how: Handling = USUAL
) -> Iterator[Outcome[None]]:
    """Enlarge images one after another, under a bar; yields each job with its error, None where it went well."""
    tiling.check(tile, overlap)
    advice = f"run smaller tiles with --tile (now {tile}), or cut it into parts"

    def one(progress: tiling.Progress, job: Job) -> None:
        upscale_file(job, model, tile=tile, overlap=overlap, how=how, progress=progress)

    if not planned.batch:  # its bar begins once the image is read and found good
        with Bars() as bars:
            for job in planned.jobs:
                yield attempt(job, partial(one, bars("upscale")), batch=False, advice=advice)
        return
    tiles = {job: tiling.count(*user_image.size(job.source, how), tile, overlap) for job in planned.jobs}
    with bar("upscale", sum(tiles.values())) as progress:
        done = 0

        def tick(_done: int, _total: int) -> None:
            progress.update(1)

        for job in planned.jobs:
            yield attempt(job, partial(one, tick), batch=True, advice=advice)
            done += tiles[job]
            progress.update(done - progress.n)  # an image that failed counts as done
            progress.set_postfix_str(job.source.name)

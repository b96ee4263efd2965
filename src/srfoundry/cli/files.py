"""Enlarging image files with a model. plan.py says which, commands.py prints; here is the work."""

from collections.abc import Iterator
from functools import partial

from srfoundry.cli.batch import Outcome, attempt
from srfoundry.cli.plan import Job, Plan
from srfoundry.core.progress import Bars, bar
from srfoundry.imaging import tiling, user_image
from srfoundry.imaging.user_image import USUAL, Handling
from srfoundry.runtime.upscaler import Upscaler


def upscale_file(
    job: Job, upscaler: Upscaler, *, how: Handling = USUAL, progress: tiling.Progress | None = None
) -> None:
    """Enlarge one image.

    Args:
        job: what to read and to write.
        upscaler: what enlarges.
        how: to read and write files.
        progress: called after each tile.

    Raises:
        FoundryError: the image cannot be read, or the result not written.
    """
    upscaler.file(job.source, job.target, how=how, progress=progress)


def upscale_files(planned: Plan, upscaler: Upscaler, *, how: Handling = USUAL) -> Iterator[Outcome[None]]:
    """Enlarge images one after another, under a bar; yields each job with its error, None where it went well."""
    advice = f"run smaller tiles with --tile (now {upscaler.tile}), or cut it into parts"

    def one(progress: tiling.Progress, job: Job) -> None:
        upscale_file(job, upscaler, how=how, progress=progress)

    if not planned.batch:  # its bar begins once the image is read and found good
        with Bars() as bars:
            for job in planned.jobs:
                yield attempt(job, partial(one, bars("upscale")), batch=False, advice=advice)
        return
    tiles = {job: upscaler.count(*user_image.size(job.source, how)) for job in planned.jobs}
    with bar("upscale", sum(tiles.values())) as progress:
        done = 0

        def tick(_done: int, _total: int) -> None:
            progress.update(1)

        for job in planned.jobs:
            yield attempt(job, partial(one, tick), batch=True, advice=advice)
            done += tiles[job]
            progress.update(done - progress.n)  # an image that failed counts as done
            progress.set_postfix_str(job.source.name)

"""Enlarging image files with a model. plan.py says which, commands.py prints; here is the work."""

from collections.abc import Iterator
from functools import partial

from srfoundry.cli.batch import Outcome, attempt
from srfoundry.cli.plan import Job, Plan
from srfoundry.core.errors import one_line
from srfoundry.core.progress import Bars, bar
from srfoundry.imaging import tiling, user_image
from srfoundry.imaging.user_image import USUAL, Handling
from srfoundry.runtime.chooser import Chooser
from srfoundry.runtime.upscaler import Upscaler


def upscale_file(
    job: Job, upscaler: Upscaler | Chooser, *, how: Handling = USUAL, progress: tiling.Progress | None = None
) -> list[str]:
    """Enlarge one image; returns what there is to say of it: which model was taken, where there was a choice, say.

    Args:
        job: what to read and to write.
        upscaler: what enlarges.
        how: to read and write files.
        progress: called after each tile.

    Raises:
        FoundryError: the image cannot be read, or the result not written.
    """
    original = user_image.read(job.source, how)
    chosen, taken = upscaler.chosen(original) if isinstance(upscaler, Chooser) else (upscaler, None)
    chosen.write(original, job.target, how=how, progress=progress)
    choice = [] if taken is None else [f"{job.source}: model {taken.member}, for {taken.why}"]
    return [*choice, *original.remarks(job.source)]


def upscale_files(
    planned: Plan, upscaler: Upscaler | Chooser, *, how: Handling = USUAL
) -> Iterator[Outcome[list[str]]]:
    """Enlarge images one after another, under a bar; yields each job with what to say of it, or its error."""
    advice = f"run smaller tiles with --tile (now {upscaler.tile}), or cut it into parts"

    def one(progress: tiling.Progress, job: Job) -> list[str]:
        return upscale_file(job, upscaler, how=how, progress=progress)

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
            progress.set_postfix_str(one_line(job.source.name), refresh=False)

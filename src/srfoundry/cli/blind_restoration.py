"""Photographs of unknown blur, as files: the kernel is estimated, the image restored, and both are checked and written.

One image uses all cores. Of a folder, each core has an image of its own: an image's steps wait for one another, and so
small convolutions gain little from a second core. A GPU does one image after another.
"""

from collections.abc import Iterator
from functools import partial

from srfoundry.cli.batch import Outcome, attempt
from srfoundry.cli.plan import Job, Plan
from srfoundry.core import parallel
from srfoundry.core.atomic import replacing
from srfoundry.core.compute import is_gpu
from srfoundry.core.progress import Bars
from srfoundry.degradation import kernel_files
from srfoundry.imaging import user_image
from srfoundry.reporting import pictures
from srfoundry.restoration.blind_restoration import Restoration, restore_photograph
from srfoundry.restoration.restorers.restorer import RestoreOptions, Ticker, no_ticker

BESIDE = ("_kernel.npy", "_kernel.png")  # endings of what is written beside a restored image


def restore_files(planned: Plan, options: RestoreOptions) -> Iterator[Outcome[list[str]]]:
    """Restore images, one a core (one at a time on a GPU); yields each job with what to say of it, or its error.

    Args:
        planned: what to read and to write.
        options: of the call.
    """
    shared = Restoration.load(options)  # what is wrong for all images is said once
    one = partial(_attempt, shared=shared, batch=planned.batch)
    if not planned.batch:
        yield from map(one, planned.jobs)
        return
    mapped = parallel.threads(1 if is_gpu(options.device) else None)
    yield from mapped(one, planned.jobs, "restore")


def restore_file(job: Job, shared: Restoration, ticker: Ticker = no_ticker) -> list[str]:
    """Restore one image and write it, its kernel NAME_kernel.npy and a picture NAME_kernel.png.

    An image that restoration would make worse is enlarged, by the upscaler where there is one, and has no kernel: what
    lies under its name is removed.

    Returns:
        what to say of it, in lines.

    Raises:
        FoundryError: the image is missing, damaged or too small.
    """
    how = shared.options.files
    original = user_image.read(job.source, how)
    user_image.check_target(original, job.target, shared.sampling.scale)
    made = restore_photograph(original, job.source.stem, shared, ticker)
    if made.explained is None:
        assert made.doubt is not None
        user_image.write(made.pixels, original, job.target, how)
        for former in job.outputs[1:]:  # which --overwrite has allowed to replace: they are of another result
            former.unlink(missing_ok=True)
        return [
            f"{job.target}  (x{shared.sampling.scale}, {made.enlarged_by})",
            f"{job.source.name} is not restored: {made.doubt.line('--force')}",
            *original.remarks(job.source.name),
        ]
    observation, found, checked = made.explained.observation, made.explained.found, made.explained.checked
    assert observation.kernel is not None
    caption = "given kernel" if shared.estimation is None else f"kernel by {shared.estimation.settings.method}"
    shown = {"before: bicubic": checked.bicubic, "after: restored": checked.restored}
    varies = None if made.decision is None else made.decision.varies
    where = None if varies is None else varies.map((observation.low.shape[-2], observation.low.shape[-1]))
    taps, picture = map(job.beside, BESIDE)
    # All or none: a result that is there has its kernel beside it.
    with replacing(taps) as partial_taps, replacing(picture) as partial_picture:
        kernel_files.save(observation.kernel[0], partial_taps)
        pictures.blind(partial_picture, observation.low, shown, observation.kernel, caption, where)
        user_image.write(made.pixels, original, job.target, how)
    return [
        f"{job.target}  (x{observation.scale}, {found.how})",
        f"{taps}  and  {picture}  ({caption})",
        *([] if made.decision is None else [f"{job.source.name}: {made.decision.line()}"]),
        *([] if varies is None else [varies.line()]),
        *found.remarks,
        *checked.lines(),
        *original.remarks(job.source.name),
    ]


def _attempt(job: Job, *, shared: Restoration, batch: bool) -> Outcome[list[str]]:
    with Bars() as bars:  # of an image alone: of several at a time nobody would know whose they are
        ticker = no_ticker if batch else bars
        return attempt(job, lambda one: restore_file(one, shared, ticker), batch=batch)

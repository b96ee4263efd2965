"""Several images in one call: a bad one is named, the others are done, and the exit status says so at the end."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from srfoundry.cli.plan import Job, Plan, check_names
from srfoundry.core.errors import FoundryError, is_out_of_memory, one_line
from srfoundry.core.progress import above

Result = TypeVar("Result")
Outcome = tuple[Job, Result | None, FoundryError | None]


def attempt(
    job: Job, work: Callable[[Job], Result], *, batch: bool, advice: str = "close other programs"
) -> Outcome[Result]:
    """Do one image's work: returns the job with what it gave, or with its error.

    Args:
        job: one image.
        work: what is done with it.
        batch: whether there are others, which even a fault of this program must not end; one image shows its traceback.
        advice: what a person may do where memory was not enough.
    """
    try:
        check_names(job)
        return job, work(job), None
    except FoundryError as error:
        return job, None, error
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        if is_out_of_memory(error):
            return job, None, FoundryError(f"{job.source} takes more memory than there is; {advice}")
        if isinstance(error, OSError):
            place = error.filename or job.target
            return (
                job,
                None,
                FoundryError(f"cannot write {place}: {error.strerror or text}; name another place with --out"),
            )
        if not batch:
            raise
        said = (
            f"{job.source}: {type(error).__name__}: {text}; this is a fault of the program, which shows where when run"
        )
        return job, None, FoundryError(f"{said} on this image alone")


def remark(planned: Plan) -> None:
    """Say on stderr what the user should know before the work."""
    for line in planned.remarks():
        sys.stderr.write(one_line(line) + "\n")


def report(outcomes: Iterator[Outcome[Any]], planned: Plan, how: str = "") -> int:
    """Say what is done and what became of each image.

    Args:
        outcomes: of `attempt`; what an image gave are lines to print, if anything.
        planned: the call.
        how: is said after the place of the results.

    Returns:
        the exit status: 0 where all went well.

    Raises:
        FoundryError: the only image of the call has failed.
    """
    remark(planned)
    errors = []
    for _, lines, error in outcomes:
        if error is not None and not planned.batch:
            raise error
        if error is not None:
            errors.append(error)
            above(one_line(f"error: {error}"), sys.stderr)
        for line in lines or []:
            above(one_line(line), sys.stdout)
    if not errors and (how or planned.batch or not planned.jobs):
        sys.stdout.write(one_line(_below(planned)) + how * bool(planned.jobs) + "\n")
    return failed(errors, planned)


def failed(errors: Sequence[FoundryError], planned: Plan) -> int:
    """The exit status; where images of several were named with their errors, a last line says how many."""
    if errors:
        count = len(planned.jobs)
        sys.stderr.write(f"error: {len(errors)} of {count} images were left out (named above); the others are done\n")
    return 1 if errors else 0


def _below(planned: Plan) -> str:
    """Where the results are, in a few words."""
    if not planned.jobs:
        return "nothing left to do"
    if len(planned.jobs) == 1:
        return str(planned.jobs[0].target)
    below = os.path.relpath(os.path.commonpath([os.path.realpath(job.target.parent) for job in planned.jobs]))
    return f"{len(planned.jobs)} images below {below}"

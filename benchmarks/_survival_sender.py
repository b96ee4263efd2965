"""Who takes what the stages of trials report, so that no process has to import MLflow and Prefect for each of them."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks._survival_runs import Hook
from pipelines.support import sender


@contextmanager
def taken(root: Path) -> Iterator[Hook]:
    """Be the folder's sender meanwhile: what stages report is taken at once, and no process is started for it."""
    path = root / sender.FOLDER / sender.LOCK
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lambda: _take(root)
    except BlockingIOError:  # a second run beside a first one: its folder has a sender
        yield nothing
    finally:
        os.close(handle)
        _take(root)


def nothing() -> None:
    """What is done meanwhile where nothing is."""


def _take(root: Path) -> None:
    for box in sender.boxes(root):
        if box.closed:
            box.remove()

"""Runs of a benchmark, seeds among them, several at a time: processes here, or tasks of SRFOUNDRY_DASK's cluster."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from pipelines.support import fan_out, server, settings
from srfoundry.core.progress import track

Job = TypeVar("Job")


def spread(function: Callable[[Job], None], jobs: Sequence[Job], title: str, *, processes: int) -> None:
    """Call a function of a module for each job; its results lie in files, for a cluster's too: in a shared folder.

    Args:
        function: picklable.
        jobs: picklable; paths in them absolute, where a cluster's workers have another current folder.
        title: of the progress.
        processes: at a time on this machine.
    """
    if not jobs:
        return
    server.prepare_environment(Path.cwd())
    if settings.machine().dask:
        for _ in fan_out.mapped()(partial(function), jobs, title):
            pass
        return
    # a process a job, spawned: forked ones would share their parent's threads
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for _ in track(pool.map(function, jobs), title, len(jobs)):
            pass

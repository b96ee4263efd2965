"""Spreading one function's items: over threads here, or over a Dask cluster that SRFOUNDRY_DASK names.

An environment variable and no parameter, for it changes no byte of any result, only where the work is done.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pipelines.support import server
from srfoundry.core.errors import FoundryError
from srfoundry.core.parallel import Map, threads
from srfoundry.core.progress import track

Item = TypeVar("Item")
Result = TypeVar("Result")

ADDRESS = "SRFOUNDRY_DASK"
PATIENCE = 5  # seconds for the scheduler to answer


def mapped(workers: int | None = None) -> Map:
    """Return a Map over `workers` threads, or over the cluster whose scheduler is at SRFOUNDRY_DASK.

    Set it to an address such as tcp://host:8786, and each item is a task of a Prefect subflow, run by a worker of that
    cluster. The workers must have this project installed, the same versions of Python and of its requirements, and the
    same folders under the same names (a shared file system): only paths and small results travel.

    Raises:
        FoundryError: no scheduler answers at the address, or it has no workers.
    """
    address = os.environ.get(ADDRESS)
    if not address:
        return threads(workers)
    return _cluster(address, _workers_at(address))


def _workers_at(address: str) -> int:
    """Ask the scheduler how many tasks its workers run at a time."""
    from distributed import Client

    try:
        with Client(address, timeout=PATIENCE, set_as_default=False) as client:
            nthreads: Any = client.nthreads()  # its type is that of the asynchronous client
            count = sum(nthreads.values())
    except (OSError, ValueError) as error:
        raise FoundryError(
            f"no Dask scheduler answers at {ADDRESS}={address} within {PATIENCE} s ({type(error).__name__}); "
            "start it, or unset that to use this machine's cores"
        ) from None
    if not count:
        raise FoundryError(f"the Dask scheduler at {ADDRESS}={address} has no workers; start some with 'dask worker'")
    return count


def _result(future: Any, address: str) -> Any:
    """A task's result or its own error; one line where the cluster has failed it."""
    from concurrent.futures import CancelledError

    from distributed.scheduler import KilledWorker

    try:
        return future.result()
    except (KilledWorker, CancelledError, TimeoutError, OSError) as error:
        raise FoundryError(
            f"the Dask cluster at {ADDRESS}={address} lost a task ({type(error).__name__}); look at its workers' logs "
            "and run again, or unset that to use this machine's cores"
        ) from None


def _cluster(address: str, workers: int) -> Map:
    def over_cluster(function: Callable[[Item], Result], items: Sequence[Item], title: str) -> Iterator[Result]:
        server.ensure_prefect(Path.cwd())
        from prefect import flow
        from prefect.cache_policies import NO_CACHE
        from prefect.tasks import Task
        from prefect_dask.task_runners import DaskTaskRunner

        # The function itself is the task, so that workers import nothing of pipelines/; Prefect refuses built-in ones
        # unless they are in a partial.
        work = Task(partial(function), name=title, cache_policy=NO_CACHE, persist_result=False)

        runner: Any = DaskTaskRunner(address=address)

        @flow(name=title, task_runner=runner, persist_result=False)
        def fan() -> list[Result]:
            waiting: deque[Any] = deque()  # of PrefectDaskFuture; Prefect declares its parent
            results = []
            try:
                for index in track(range(len(items)), title):
                    while len(waiting) + index < len(items) and len(waiting) < 2 * workers:
                        waiting.append(work.submit(items[index + len(waiting)]))
                    results.append(_result(waiting.popleft(), address))
            finally:
                for future in waiting:
                    with suppress(OSError):  # of a scheduler that is gone
                        future.wrapped_future.cancel()
            return results

        yield from fan()

    return over_cluster

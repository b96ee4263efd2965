"""Spreading one function's items: over threads here, or over the Dask cluster that the setting SRFOUNDRY_DASK names.

A setting of the machine (pipelines/support/settings.py) and no parameter, for it changes no byte of any result, only
where the work is done.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pipelines.support import server, settings
from pipelines.support.settings import Machine
from srfoundry.core.errors import FoundryError
from srfoundry.core.parallel import Map, threads
from srfoundry.core.progress import track

Item = TypeVar("Item")
Result = TypeVar("Result")

ADDRESS = "SRFOUNDRY_DASK"
PATIENCE = 5  # seconds for the scheduler to answer
PAUSE, LONGEST = 1.0, 30.0  # seconds before a lost task is sent again, twice as many each time
LOOK = 5.0  # seconds between two looks at whether the cluster still has workers


def mapped(workers: int | None = None) -> Map:
    """Return a Map over `workers` threads, or over the cluster whose scheduler is at SRFOUNDRY_DASK.

    Set it to an address such as tcp://host:8786, and each item is a task of a Prefect subflow, run by a worker of that
    cluster. The workers must have this project installed, the same versions of Python and of its requirements, and the
    same folders under the same names (a shared file system): only paths and small results travel. A task whose worker
    is lost goes to another one: Dask tries that itself a few times, and then it is sent again SRFOUNDRY_DASK_RETRIES
    times.

    Raises:
        FoundryError: no scheduler answers at the address, or it has no workers.
    """
    machine = settings.machine()
    if not machine.dask:
        return threads(workers)
    return _cluster(machine, workers_at(machine.dask))


def workers_at(address: str) -> int:
    """Ask the scheduler how many tasks its workers run at a time.

    Raises:
        FoundryError: no scheduler answers at the address, or it has no workers.
    """
    from distributed import Client

    try:
        with Client(address, timeout=PATIENCE, set_as_default=False) as client:
            count = _threads(client)
    except (OSError, ValueError) as error:
        raise FoundryError(
            f"no Dask scheduler answers at {ADDRESS}={address} within {PATIENCE} s ({type(error).__name__}); "
            "start it, or unset that to use this machine's cores"
        ) from None
    if not count:
        raise FoundryError(f"the Dask scheduler at {ADDRESS}={address} has no workers; start some with 'dask worker'")
    return count


def _threads(client: Any) -> int:
    """Tasks that a cluster runs at a time. The client's type is that of the asynchronous one."""
    return sum(client.nthreads().values())


def outcome(submit: Callable[[], Any], machine: Machine, future: Any = None) -> Any:
    """The result of a task on the cluster, which is sent again when the cluster has lost it.

    Args:
        submit: sends the task and returns Prefect's future of it.
        machine: how often a lost task is sent again, and how long the cluster may be without workers.
        future: of the first try, where it was sent before.

    Raises:
        FoundryError: the task was lost too often, or nobody is there to run it.
        Exception: what the task raised itself; it is not tried again.
    """
    from concurrent.futures import CancelledError

    from distributed.scheduler import KilledWorker

    lost = ""
    for tries in range(machine.dask_retries + 1):
        if lost:
            time.sleep(min(PAUSE * 2 ** (tries - 1), LONGEST))  # the cluster starts its lost workers anew meanwhile
        try:
            future = future or submit()
            _wait(future, machine)
        except (KilledWorker, CancelledError, OSError) as error:
            lost, future = type(error).__name__, None
        else:
            return future.result()
    raise FoundryError(
        f"the Dask cluster at {ADDRESS}={machine.dask} lost a task {machine.dask_retries + 1} times ({lost}); look at "
        "its workers' logs and run again, or unset that to use this machine's cores"
    )


def _wait(future: Any, machine: Machine) -> None:
    """Wait for a task as long as the cluster has workers, or will soon have some again."""
    seen = time.monotonic()
    while True:
        try:
            future.wrapped_future.result(timeout=LOOK)
            return
        except TimeoutError:  # a task's own error comes as a state of Prefect's, not as an exception
            if _threads(future.wrapped_future.client):
                seen = time.monotonic()
            elif time.monotonic() - seen > machine.dask_patience:
                raise FoundryError(
                    f"the Dask cluster at {ADDRESS}={machine.dask} had no workers for {machine.dask_patience:.0f} s; "
                    "start some with 'dask worker' and run again, or unset that to use this machine's cores"
                ) from None


def _cluster(machine: Machine, workers: int) -> Map:
    def over_cluster(function: Callable[[Item], Result], items: Sequence[Item], title: str) -> Iterator[Result]:
        server.ensure_prefect(Path.cwd())
        from prefect import flow
        from prefect.cache_policies import NO_CACHE
        from prefect.tasks import Task
        from prefect_dask.task_runners import DaskTaskRunner

        # The function itself is the task, so that workers import nothing of pipelines/; Prefect refuses built-in ones
        # unless they are in a partial.
        work = Task(partial(function), name=title, cache_policy=NO_CACHE, persist_result=False)

        runner: Any = DaskTaskRunner(address=machine.dask)

        @flow(name=title, task_runner=runner, persist_result=False)
        def fan() -> list[Result]:
            waiting: deque[Any] = deque()  # of PrefectDaskFuture; Prefect declares its parent
            results = []
            try:
                for index in track(range(len(items)), title):
                    while len(waiting) + index < len(items) and len(waiting) < 2 * workers:
                        waiting.append(work.submit(items[index + len(waiting)]))
                    results.append(outcome(partial(work.submit, items[index]), machine, waiting.popleft()))
            finally:
                for future in waiting:
                    with suppress(OSError):  # of a scheduler that is gone
                        future.wrapped_future.cancel()
            return results

        yield from fan()

    return over_cluster

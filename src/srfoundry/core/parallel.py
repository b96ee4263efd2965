"""Work beside work: one function over many items in order, several at a time."""

import atexit
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import NoReturn, Protocol, TypeVar, runtime_checkable

from srfoundry.core import atomic, cores
from srfoundry.core.errors import FoundryError
from srfoundry.core.progress import track

NAME = "srfoundry"  # of the threads of this project's work
Item = TypeVar("Item")
Result = TypeVar("Result")


@runtime_checkable  # for the shape checks of the tests
class Map(Protocol):
    """Calls a function for each item and yields the results in the order of the items, under a bar with the title.

    Nothing runs before the first result is taken. The first exception is raised and what has not begun is dropped. An
    interruption does not wait for what has begun: `leave` ends the process then.
    The function and the items must be picklable (a function of a module, a functools.partial of one, paths, numbers):
    other machines may run them.
    """

    def __call__(self, function: Callable[[Item], Result], items: Sequence[Item], title: str) -> Iterator[Result]: ...


def threads(workers: int | None = None) -> Map:
    """Return a Map over threads of this process; PyTorch computes on one core in each of them meanwhile.

    Twice as many items as workers are begun or waiting at any time, so memory does not grow with the items. (joblib's
    ordered generator runs all items whether results are taken or not, and raises whichever error comes first.)

    Args:
        workers: how many at a time; as many as there are usable cores if not given.

    Raises:
        FoundryError: fewer than one worker.

    >>> list(threads(2)(len, ["one", "three"], "counting"))
    [3, 5]
    """
    count = usable_cores() if workers is None else workers
    if count < 1:
        raise FoundryError(f"workers must be 1 or more, got {count}; leave it out for one a core")

    def mapped(function: Callable[[Item], Result], items: Sequence[Item], title: str) -> Iterator[Result]:
        return track(_results(function, items, count), title, len(items))

    return mapped


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return cores.usable()


def _results(function: Callable[[Item], Result], items: Sequence[Item], count: int) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(count, thread_name_prefix=NAME)
    wait = False  # an item may take minutes: neither an interruption nor whoever takes no more results waits for it
    with one_core_each():
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) == 2 * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except Exception:
            wait = True
            raise
        finally:
            pool.shutdown(wait, cancel_futures=True)


def leave(status: int) -> NoReturn:
    """End the process as `sys.exit` does, but without waiting for items that still work; what they write is removed.

    Python would wait for the threads of an interrupted Map, and PyTorch does not survive it when they are cut off; it
    would take all modules down, too, which takes a second or two on a busy machine. From any thread.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # who interrupts once more wants no farewell
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    atomic.discard()
    os._exit(status)


@contextmanager
def one_core_each() -> Iterator[None]:
    """Let threads that begin in here use one core each in PyTorch: they take this thread's number as they begin."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

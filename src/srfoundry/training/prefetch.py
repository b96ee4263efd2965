"""A training's next batches, made while it trains."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import TypeVar

import torch

from srfoundry.core import cores
from srfoundry.core.compute import is_gpu
from srfoundry.core.parallel import one_core_each

Item = TypeVar("Item")


def fed(make: Callable[[int], Item], device: torch.device) -> Callable[[int], Item]:
    """The batches of a training on a device, made ahead where a thread has the time: the one way for every trainer.

    Beside a GPU two steps ahead, on one core. Beside a CPU one step ahead, and only where as many cores as train have
    nothing else to do: the thread computes on that many, so that the bytes are the same with and without it. `make`
    should copy its batch to the device itself (`core.compute.sent`): then the thread does.

    Args:
        make: makes the batch of a step, from the step's number alone.
        device: where the training computes.
    """
    if is_gpu(device):
        return ahead(make, depth=2)
    threads = torch.get_num_threads()
    return ahead(make, depth=1 if cores.spare(threads) >= threads else 0, one_core=False)


def ahead(make: Callable[[int], Item], *, depth: int = 2, one_core: bool = True) -> Callable[[int], Item]:
    """Return `make` with the next `depth` steps made meanwhile in one thread; steps may come in any order.

    What a step gives depends on the step alone if it does so in `make`; its exception is raised by the call for it.
    Worth it where a GPU or spare cores train: on the cores that train it gains nothing.

    Args:
        make: makes the batch of a step.
        depth: batches made ahead; 0 returns `make` itself.
        one_core: whether the thread computes on one core, or on as many as this one.

    >>> double = ahead(lambda step: 2 * step)
    >>> [double(400), double(401), double(7)]
    [800, 802, 14]
    """
    if depth == 0:
        return make
    pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    with one_core_each() if one_core else nullcontext():
        pool.submit(torch.get_num_threads).result()  # the thread takes its number of cores at its first such call
    made: dict[int, Future[Item]] = {}

    def at(step: int) -> Item:
        wanted = range(step, step + depth + 1)
        for other in [other for other in made if other not in wanted]:
            made.pop(other).cancel()
        for each in wanted:
            if each not in made:
                made[each] = pool.submit(make, each)
        return made.pop(step).result()

    return at

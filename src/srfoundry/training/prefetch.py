"""A training's next batches, made while it trains."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from srfoundry.core.parallel import one_core_each

Item = TypeVar("Item")


def ahead(make: Callable[[int], Item], *, depth: int = 2) -> Callable[[int], Item]:
    """Return `make` with the next `depth` steps made meanwhile in one thread; steps may come in any order.

    What a step gives depends on the step alone if it does so in `make`; its exception is raised by the call for it.
    Worth it where a GPU or spare cores train: on the cores that train it gains nothing.

    Args:
        make: makes the batch of a step.
        depth: batches made ahead; 0 returns `make` itself.

    >>> double = ahead(lambda step: 2 * step)
    >>> [double(400), double(401), double(7)]
    [800, 802, 14]
    """
    if depth == 0:
        return make
    pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    with one_core_each():
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

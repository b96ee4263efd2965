"""Work whose parts wait for each other, several parts at a time: in which order, and how long that takes."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter


def side_by_side(
    parents: Mapping[str, Sequence[str]],
    run: Callable[[str], str],
    *,
    jobs: int,
    seconds: Mapping[str, float],
    stop: threading.Event,
) -> dict[str, str]:
    """Run each name once all its parents are done, `jobs` at a time; return what `run` returned for each.

    Of those that may start the one with the longest way to the end goes first.

    Args:
        parents: of each name, among the names.
        run: of one name, in a thread of its own; must end soon after `stop` is set.
        seconds: about how long each takes; 1 where it is not known.
        stop: set here at the first failure, by whoever wants all to end.

    Raises:
        what `run` raised first; the others have ended then.
    """
    order = TopologicalSorter(parents)
    order.prepare()
    ahead = ways(parents, seconds)
    waiting: list[str] = []
    running: dict[Future[str], str] = {}
    what: dict[str, str] = {}
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while order.is_active():
                waiting = sorted([*waiting, *order.get_ready()], key=lambda name: -ahead[name])
                while waiting and len(running) < jobs:
                    name = waiting.pop(0)
                    running[pool.submit(run, name)] = name
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name = running.pop(future)
                    what[name] = future.result()
                    order.done(name)
        finally:
            stop.set()
    return what


def ways(parents: Mapping[str, Sequence[str]], seconds: Mapping[str, float]) -> dict[str, float]:
    """Seconds from the start of each name to the end of the last that waits for it."""
    below: dict[str, float] = dict.fromkeys(parents, 0.0)
    for name in reversed(list(TopologicalSorter(parents).static_order())):
        total = below[name] + seconds.get(name, 1.0)
        for parent in parents[name]:
            below[parent] = max(below[parent], total)
    return {name: below[name] + seconds.get(name, 1.0) for name in parents}


def makespan(parents: Mapping[str, Sequence[str]], seconds: Mapping[str, float], jobs: int) -> float:
    """Seconds until all are done, `jobs` at a time, the longest way to the end first."""
    ahead, ended, free = ways(parents, seconds), dict[str, float](), [0.0] * jobs
    left = set(parents)
    while left:
        ready = {
            name: max((ended[p] for p in parents[name]), default=0.0)
            for name in left
            if ended.keys() >= set(parents[name])
        }
        free.sort()
        start = max(free[0], min(ready.values()))
        name = max((name for name, at in ready.items() if at <= start), key=lambda name: ahead[name])
        free[0] = ended[name] = start + seconds[name]
        left.remove(name)
    return max(ended.values(), default=0.0)

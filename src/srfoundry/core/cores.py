"""How many cores this process may use: on a shared machine, in a container, on any system."""

import math
import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")  # "200000 100000": 200 ms of processor time in each 100 ms; or "max 100000"


SIDE_BY_SIDE = "SRFOUNDRY_SIDE_BY_SIDE"  # how many stages `make repro` runs at a time, in their environment


def spare(threads: int) -> int:
    """Return how many cores nobody computes on while this process does so on `threads` of them.

    Others are counted that were started with it: stages side by side, and a training's processes on this machine
    (LOCAL_WORLD_SIZE, from torch elastic).
    """
    beside = int(os.environ.get(SIDE_BY_SIDE, 1)) * int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return max(0, usable() // beside - threads)


def usable(quota: Path = QUOTA) -> int:
    """Return the number of cores: those that the process may run on, fewer where a container's quota is smaller.

    More threads than a quota has cores for use it up at once, and all of them stand still until the next period.

    Args:
        quota: the file in which Linux says the quota.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        granted, period = quota.read_text().split()
        return max(1, min(count, math.ceil(int(granted) / int(period))))
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or no quota
        return count

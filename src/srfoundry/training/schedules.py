"""Learning rates over the steps of a training."""

import math
from typing import Literal

Schedule = Literal["cosine", "staircase", "constant"]


def rate(schedule: Schedule, step: int, steps: int, start: float, *, warmup: int = 0) -> float:
    """Learning rate at a step of `steps`, after a linear warm-up.

    `cosine` falls to 0; `staircase` is halved after every fifth of the steps until it is a quarter (MZSR's phase 1:
    from 4e-4 every 100,000 of 500,000 steps down to 1e-4); `constant` stays (MZSR's phase 2).
    """
    if schedule == "cosine" or step < warmup:
        return cosine(step, steps, start, warmup=warmup)
    return start if schedule == "constant" else start * max(0.25, 0.5 ** (5 * step // max(1, steps)))


def cosine(step: int, steps: int, start: float, end: float = 0.0, warmup: int = 0) -> float:
    """Learning rate at a step: linear warm-up, then half a cosine from `start` to `end`."""
    if step < warmup:
        return start * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * share))


def restarted(step: int, steps: int, start: float, *, warmup: int = 0, restarts: int = 1) -> float:
    """Learning rate at a step: `restarts` cosines of equal length one after the other (SGDR), warm-up in the first."""
    cycle = step * restarts // max(1, steps)
    # ceil, so that a step lies in the cycle that it was counted into
    begin, end = (-(-steps * number // restarts) for number in (cycle, cycle + 1))
    return cosine(step - begin, end - begin, start, warmup=0 if cycle else warmup)

"""Work for a cluster that loses workers; in a module of its own, for a cluster's workers import it."""

import os
import signal
from pathlib import Path


def once_killed(item: tuple[int, Path]) -> int:
    """Ten times the number. The first worker that has the number 2 or 12 is killed at it."""
    number, folder = item
    mark = folder / str(number)
    if number in (2, 12) and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 10 * number


def killing(number: int) -> int:
    """Nothing: whoever does it is killed."""
    os.kill(os.getpid(), signal.SIGKILL)
    return number

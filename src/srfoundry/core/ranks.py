"""Which of several processes this is, if torchrun started it as one of them. Imports nothing heavy."""

import os

STARTED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun says to each process


def together() -> int:
    """How many processes torchrun started with this one; 1 for one that is alone."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in STARTED) else 1


def rank() -> int:
    """This process's number among them; 0 for one that is alone."""
    return int(os.environ["RANK"]) if together() > 1 else 0

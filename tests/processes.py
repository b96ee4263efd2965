"""Several processes of a test that work together: each runs a function with its rank; its result comes back."""

import os
import socket
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from srfoundry.core.process_group import ALONE, Processes, joined

CPU = torch.device("cpu")
Work = Callable[[Processes, Path], Any]


def alone(work: Work, folder: Path) -> Any:
    """What the function gives in one process."""
    return work(ALONE, folder)


def together(count: int, work: Work, folder: Path) -> list[Any]:
    """What the function, one of a module, gives in each of `count` processes, by rank."""
    context = get_context("spawn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    results = context.SimpleQueue()
    started = [
        context.Process(target=_one, args=(rank, count, port, work, folder, results), daemon=True)
        for rank in range(count)
    ]
    for each in started:
        each.start()
    found = dict(results.get() for _ in started)
    for each in started:
        each.join()
    for rank, (ended, value) in sorted(found.items()):
        assert ended, f"process {rank}: {value}"
    return [value for _, (_, value) in sorted(found.items())]


def _one(rank: int, count: int, port: int, work: Work, folder: Path, results: Any) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(count), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    try:
        with joined(CPU) as processes:
            results.put((rank, (True, work(processes, folder))))
    except BaseException:
        results.put((rank, (False, traceback.format_exc())))

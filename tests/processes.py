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
    arguments = [(rank, count, port, work, folder) for rank in range(count)]
    started = [context.Process(target=_one, args=each, daemon=True) for each in arguments]
    for each in started:
        each.start()
    for each in started:
        each.join()
    said = [path.read_text() for rank in range(count) if (path := folder / f"failed{rank}").exists()]
    assert not any(each.exitcode for each in started), "\n".join(said)
    return [torch.load(folder / f"result{rank}", weights_only=False) for rank in range(count)]


def _one(rank: int, count: int, port: int, work: Work, folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(count), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    try:
        with joined(CPU) as processes:
            torch.save(work(processes, folder), folder / f"result{rank}")
    except BaseException:
        (folder / f"failed{rank}").write_text(traceback.format_exc())
        raise SystemExit(1) from None

"""Results come in order, several items are at work at once, but never many more."""

import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from srfoundry.core.errors import FoundryError
from srfoundry.core.parallel import Map, threads


def test_order_is_kept_though_items_overtake() -> None:
    """The first item waits for the second here: with one worker at a time it would wait for ever."""
    second = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second.wait(60)
        if item == 1:
            second.set()
        return -item

    assert list(threads(2)(work, range(20), "working")) == [-item for item in range(20)]
    assert isinstance(threads(), Map)
    assert list(threads(3)(str, [], "nothing")) == []


def test_few_items_are_begun_ahead() -> None:
    """Memory stays flat: results wait for whoever takes them."""
    begun: list[int] = []
    results = threads(2)(begun.append, range(100), "working")
    assert not begun, "nothing runs before it is asked for"
    for taken in range(5):
        next(results)
        assert len(begun) <= taken + 4
    results.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert len(begun) <= 9


def test_first_error_ends_it() -> None:
    """In the order of the items, whichever failed first; what had not begun never does."""
    begun: list[int] = []
    late = threading.Event()

    def work(item: int) -> None:
        begun.append(item)
        if item == 3:
            late.set()
            raise ValueError("three")
        if item == 2:
            assert late.wait(60)
            raise FoundryError("two")

    with pytest.raises(FoundryError, match="two"):
        list(threads(2)(work, range(100), "working"))
    assert max(begun) <= 6


def test_torch_computes_on_one_core_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """And on as many as before when all is done, also after an error or when nobody takes the rest."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert list(threads(2)(lambda _: torch.get_num_threads(), range(4), "working")) == [1] * 4
        assert torch.get_num_threads() == 2
        with pytest.raises(ZeroDivisionError):
            list(threads(2)(partial(divmod, 1), [0], "working"))
        assert torch.get_num_threads() == 2
        results = threads(2)(time.sleep, [0, 0, 0], "working")
        next(results)
        results.close()  # pyright: ignore[reportAttributeAccessIssue]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_no_workers_is_said() -> None:
    """What, got, do."""
    with pytest.raises(FoundryError, match="1 or more, got 0"):
        threads(0)


def test_who_stops_waits_for_nobody() -> None:
    """An interruption comes to `for` as the end of its generator."""
    free, begun = threading.Event(), threading.Event()

    def work(item: int) -> int:
        begun.set()
        assert item == 0 or free.wait(60)
        return item

    results = threads(2)(work, range(100), "working")
    assert next(results) == 0 and begun.wait(60)
    results.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert not free.is_set()
    free.set()


LEAVING = """
import os, sys, time
from pathlib import Path
from srfoundry.core import atomic, parallel

def work(item):
    atomic.write_bytes(Path(f"whole{item}"), b"whole")
    with atomic.replacing(Path(f"half{item}")) as partial:
        partial.write_bytes(b"half")
        os.write(1, b"begun\\n")  # in one piece: print() of two threads may mix text and line ends
        time.sleep(600)

try:
    for _ in parallel.threads(2)(work, range(10), "working"):
        pass
except KeyboardInterrupt:
    parallel.leave(130)
"""


def test_an_interruption_ends_the_process_and_leaves_no_half_file(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", LEAVING], cwd=tmp_path, text=True, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert [process.stdout.readline() for _ in range(2)] == ["begun\n"] * 2
            process.send_signal(signal.SIGINT)
            assert process.wait(120) == 130  # not the 600 seconds of the items
        finally:
            process.kill()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["whole0", "whole1"]

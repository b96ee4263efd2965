"""Steps made ahead are the same steps, and leave the training its cores."""

import threading

import pytest
import torch

from srfoundry.core import cores
from srfoundry.core.errors import FoundryError
from srfoundry.training.prefetch import ahead, fed


def test_steps_made_ahead_are_the_same_steps() -> None:
    """From any step on, in any order; an error belongs to its step."""
    made: list[int] = []

    def make(step: int) -> int:
        made.append(step)
        if step == 402:
            raise FoundryError("step 402 is bad")
        return step * step

    at = ahead(make)
    assert [at(400), at(401)] == [160000, 160801]
    with pytest.raises(FoundryError, match="402"):
        at(402)
    assert [at(step) for step in (403, 7, 8, 7)] == [162409, 49, 64, 49]
    assert made[:4] == [400, 401, 402, 403], "each once, in order"


def test_steps_ahead_leave_this_thread_its_cores() -> None:
    """The thread that makes them computes on one core, and nobody else does for that."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert ahead(lambda step: torch.get_num_threads())(1) == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("usable", "made_ahead"), [(1, False), (2, True)])
def test_a_cpu_makes_ahead_where_cores_are_spare(
    usable: int, made_ahead: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One batch, with as many threads as the training has: its bytes are the same."""
    monkeypatch.setattr(cores, "usable", lambda: usable)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        batch = fed(lambda step: (step, torch.get_num_threads(), threading.current_thread()), torch.device("cpu"))
        step, threads, where = batch(3)
    finally:
        torch.set_num_threads(before)
    assert (step, threads) == (3, 1)
    assert (where is not threading.current_thread()) == made_ahead


def test_a_gpu_is_fed_by_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "usable", lambda: 1)
    assert fed(lambda step: threading.current_thread(), torch.device("cuda"))(0) is not threading.current_thread()

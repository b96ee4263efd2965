"""Steps made ahead are the same steps, and leave the training its cores."""

import pytest
import torch

from srfoundry.core.errors import FoundryError
from srfoundry.training.prefetch import ahead


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

"""What processes of one group exchange: sums with their gradients, the first one's values and state."""

from pathlib import Path
from typing import Any

import pytest
import torch

from srfoundry.core.errors import FoundryError
from srfoundry.core.process_group import ALONE, Processes
from srfoundry.core.seeds import generator, redraw
from srfoundry.core.state import Resumption
from tests.processes import together


def test_rows_are_dealt_once_each() -> None:
    """Whatever the numbers, each row is one process's, and the shares of the processes are 1."""
    for count in (1, 2, 3, 4):
        dealt = [Processes(rank, count) for rank in range(count)]
        for rows in (4, 5, 16):
            assert sorted(row for each in dealt for row in range(rows)[each.rows(rows)]) == list(range(rows))
            assert sum(each.share(rows) for each in dealt) == pytest.approx(1)
            parts = [list(range(rows)[each.rows(3)]) + [3 + at for at in range(rows - 3)[each.rows(rows - 3, 3)]]
                     for each in dealt]  # fmt: skip
            assert parts == [list(range(rows)[each.rows(rows)]) for each in dealt]
    with pytest.raises(FoundryError, match="a row for each process, got 2 for 3"):
        Processes(0, 3).share(2)


def exchange(processes: Processes, folder: Path) -> Any:
    """Everything that can be exchanged, once."""
    rank = processes.rank
    weight = torch.tensor(float(rank + 1), requires_grad=True)
    total = processes.summed(weight.square())
    (slope,) = torch.autograd.grad(total * (rank + 1), weight)
    parts = [torch.full((2, 3), rank + 1.0), torch.tensor(rank + 1.0, dtype=torch.float64)]
    processes.add_up(parts)
    net = torch.nn.Linear(2, 2)
    redraw(net, generator(rank, "net"))
    processes.same_weights(net)
    kept = Resumption(folder / "state.pt", "k", processes=processes)
    other = torch.nn.Linear(2, 2)
    kept.save({"net": net}, 7, [])
    step, _ = kept.load({"net": other})
    rows = torch.arange(5.0)[processes.rows(5)]
    return {
        "summed": (float(total.detach()), float(slope)),
        "parts": [part.flatten().tolist() for part in parts],
        "weights": net.weight.tolist() == other.weight.tolist() and net.weight.tolist(),
        "step": step,
        "agreed": processes.agreed(f"of {rank}"),
        "decided": (processes.decides(rank == 0), processes.decides(rank == 1)),
        "rows": processes.gathered(rows, 5).tolist(),
    }


def test_what_is_exchanged_is_the_same_in_all(tmp_path: Path) -> None:
    first, second = together(2, exchange, tmp_path)
    assert first["summed"] == (5.0, 2 * 1 * 3.0) and second["summed"] == (5.0, 2 * 2 * 3.0)
    del first["summed"], second["summed"]
    assert first == second
    assert first["parts"] == [[3.0] * 6, [3.0]] and first["weights"] and first["step"] == 7
    assert first["agreed"] == "of 0" and first["decided"] == (True, False) and first["rows"] == [0, 1, 2, 3, 4]
    alone = exchange(ALONE, tmp_path)
    assert alone["summed"] == (1.0, 2.0) and alone["parts"] == [[1.0] * 6, [1.0]]

"""A stage as several processes: a lost one costs a moment and no byte, an error is one sentence."""

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pipelines.support import torchrun
from pipelines.support.processes import alive, identity
from srfoundry.core.errors import FoundryError
from tests.conftest import Toy, wait_until

# whole numbers, whose sums are exact: what two processes give is what one would
TRAIN = """
import os
import time
import torch
from srfoundry.training import loop
loop.SAVE_SECONDS = 0.0
processes = stage.compute.processes
net = torch.nn.Linear(1, 1, bias=False)
with torch.no_grad():
    net.weight.zero_()
(stage.root / f"pid{processes.rank}").write_text(str(os.getpid()))
def step(index):
    (stage.root / f"steps{processes.rank}").open("a").write(f"{index}\\n")
    while index >= 20 and (stage.root / "hold").exists():
        time.sleep(0.02)
    total = (torch.arange(5.0)[processes.rows(5)] + index).sum()
    processes.add_up([total])
    with torch.no_grad():
        net.weight += total
    return {"loss": total}
loop.fit(step, steps=30, state={"net": net}, resumption=stage.resumption, title="toy")
stage.output("models/pretrain.txt").write_text(str(net.weight.item()))
stage.metrics({"loss": net.weight.item()})
"""


def test_a_killed_process_is_started_again_with_the_others(toy: Toy) -> None:
    """The group goes on from the last checkpoint, and ends as one that was never disturbed."""
    _of_two(toy)
    process = toy.start("pretrain")
    wait_until(lambda: _held(toy), process=process)
    os.kill(int((toy.root / "pid1").read_text()), signal.SIGKILL)
    (toy.root / "hold").unlink()
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert "pretrain: process 2 was ended by SIGKILL; all start again from the last checkpoint (1 of 3)" in said
    assert said.count("pretrain: done in") == 1 and "Traceback" not in said, said
    _assert_as_undisturbed(toy)


def test_ctrl_c_ends_all_processes_and_the_next_run_goes_on(toy: Toy) -> None:
    _of_two(toy)
    process = toy.start("pretrain")
    wait_until(lambda: _held(toy), process=process)
    ranks = _ranks(toy)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    wait_until(lambda: not any(map(alive, ranks)), seconds=10.0)
    assert process.returncode == 130, said
    assert said.count("pretrain: stopped; dvc repro goes on from the last checkpoint") == 1
    assert "Traceback" not in said, said
    _assert_goes_on(toy)


def test_a_cancelled_flow_ends_all_processes_and_the_next_run_goes_on(toy: Toy) -> None:
    """As by the button in Prefect's pages: who serves the flow ends it, and so everything below it."""
    _of_two(toy)
    process = toy.start("pipelines.support.factory", "serve", "--cron", "0 3 * * *")
    try:
        named = {"deployments": {"name": {"any_": ["factory"]}}}
        wait_until(lambda: bool(toy.prefect("deployments/filter", named)), process=process)
        [deployment] = toy.prefect("deployments/filter", named)
        asked = toy.prefect(f"deployments/{deployment['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})
        wait_until(lambda: _held(toy), seconds=120, process=process)
        ranks = _ranks(toy)
        toy.prefect(f"flow_runs/{asked['id']}/set_state", {"state": {"type": "CANCELLING"}})
        wait_until(lambda: not any(map(alive, ranks)), seconds=60.0)
        one = {"flow_runs": {"id": {"any_": [asked["id"]]}}}
        wait_until(lambda: toy.prefect("flow_runs/filter", one)[0]["state_type"] == "CANCELLED", seconds=60.0)
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)
    _assert_goes_on(toy)


def _of_two(toy: Toy) -> None:
    """The stage, in two processes, which stop before the 20th step for as long as the file `hold` is there."""
    toy.stage("pretrain", TRAIN)
    program, values = toy.root / "pretrain.py", toy.root / "params.yaml"
    program.write_text(program.read_text().replace("main(pretrain)", "main(pretrain, distributed=True)"))
    values.write_text(values.read_text().replace("  processes: 1 ", "  processes: 2 "))
    (toy.root / "hold").touch()


def _held(toy: Toy) -> bool:
    return all(path.exists() and "20\n" in path.read_text() for path in (toy.root / "steps0", toy.root / "steps1"))


def _ranks(toy: Toy) -> list[str]:
    """The two processes by names that are never given twice."""
    return [identity(int((toy.root / f"pid{rank}").read_text())) for rank in range(2)]


def _assert_goes_on(toy: Toy) -> None:
    """The checkpoint is whole, and the next run ends as one that was never disturbed."""
    [kept] = (toy.root / ".ckpt").glob("*.pt")
    assert torch.load(kept, weights_only=True)["step"] == 20
    (toy.root / "hold").unlink()
    code, said = toy.run("pretrain")
    assert code == 0, said
    _assert_as_undisturbed(toy)


def _assert_as_undisturbed(toy: Toy) -> None:
    assert [int(line) for line in (toy.root / "steps1").read_text().split()].count(0) == 1, "it did not begin anew"
    assert float((toy.root / "models" / "pretrain.txt").read_text()) == sum(10 + 5 * index for index in range(30))
    assert not list((toy.root / ".ckpt").glob("*.pt"))


def failure(code: int, kind: str | None = None, message: str = "") -> Any:
    extra = {"kind": kind, "py_callstack": "Traceback"}
    found = {"message": {"message": message, "extraInfo": extra}} if kind else {}
    return SimpleNamespace(
        exitcode=code, error_file_data=found, message="Signal", signal_name=lambda: signal.Signals(-code).name
    )


def test_what_a_process_failed_for_is_one_sentence() -> None:
    """An error of the person counts more than what the others lost by it; a signal alone is a lost process."""
    wrong = failure(1, "person", "patch must be a multiple of 4")
    gone = failure(1, "lost", "another process is gone")
    with pytest.raises(FoundryError, match="patch must be a multiple"):
        torchrun._lost({0: gone, 1: wrong})
    ended = failure(1)  # for the error of another, before it could say anything itself
    with pytest.raises(FoundryError, match="patch must be a multiple"):
        torchrun._lost({0: ended, 1: failure(1, "program", "KeyError: 3"), 2: wrong})
    assert torchrun._lost({0: failure(-15), 1: failure(-9)}) == "process 2 was ended by SIGKILL"
    assert torchrun._lost({0: gone}) == "the processes lost each other"
    with pytest.raises(SystemExit):
        torchrun._lost({0: failure(1, "program", "KeyError: 3")})


def test_the_number_of_processes_is_the_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is part of the bytes, so torchrun and params.yaml must agree."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "4", "MASTER_ADDR": "a", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert not torchrun.to_be_started(4, "dual")
    with pytest.raises(FoundryError, match="as 2 processes .*, got 4 from torchrun"):
        torchrun.to_be_started(2, "dual")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert torchrun.to_be_started(2, "dual") and not torchrun.to_be_started(1, "dual")

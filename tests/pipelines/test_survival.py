"""A stage may be killed at any moment: no orphan, no second writer, and the bytes of a run that was never killed."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pipelines.support import sender
from pipelines.support.processes import alive, identity
from tests.conftest import Toy, wait_until

# A tiny training through the real loop: 60 slow steps, a state saved every few of them. While a file `hold` is there it
# stops short of its end, so that a test which is slow to kill it still kills it at work.
TRAIN = """
import time
import torch
from srfoundry.core.state import Resumption
from srfoundry.core import seeds
from srfoundry.training import loop
loop.SAVE_SECONDS = 0.0
net = torch.nn.Linear(4, 4)
with torch.no_grad():
    for weight in net.parameters():
        weight.copy_(torch.randn(weight.shape, generator=seeds.generator(stage.seed, "start")))
adam = torch.optim.Adam(net.parameters(), lr=0.01)
def step(index):
    (stage.root / "steps.txt").open("a").write(f"{index}\\n")
    time.sleep(0.06)
    while index >= 40 and (stage.root / "hold").exists():
        time.sleep(0.02)
    batch = torch.randn(8, 4, generator=seeds.generator(stage.seed, stage.name, index))
    loss = (net(batch) - batch).square().mean()
    adam.zero_grad()
    loss.backward()
    adam.step()
    return {"loss": loss.detach()}
state = {"net": net, "adam": adam}
resumption = Resumption(stage.checkpoint, stage.key, stage.log)
history = loop.fit(step, steps=60, state=state, resumption=resumption, title="toy")
stage.output("models/pretrain.txt").write_text(repr([weight.tolist() for weight in net.parameters()]))
stage.metrics({"loss": history[-1]["loss"]})
stage.curve(history)
"""


def _outs(toy: Toy) -> dict[str, bytes]:
    names = ["models/pretrain.txt", "results/pretrain/metrics.json", "results/pretrain/curves.csv"]
    return {name: (toy.root / name).read_bytes() for name in names}


def _steps(toy: Toy) -> list[int]:
    path = toy.root / "steps.txt"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def _children(pid: int) -> list[int]:
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in done.stdout.split()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> dict[str, bytes]:
    """What the toy training writes when nobody kills it."""
    toy = Toy(tmp_path_factory.mktemp("undisturbed") / "toy", environment)
    toy.stage("pretrain", TRAIN)
    code, said = toy.run("dvc", "repro")
    assert code == 0, said
    assert not list((toy.root / ".ckpt").glob("*.pt"))
    return _outs(toy)


@pytest.mark.parametrize(("victim", "shell"), [("stage", "bash"), ("dvc", "bash"), ("dvc", "sh")])
def test_killed_run_resumes_to_the_same_bytes(toy: Toy, undisturbed: dict[str, bytes], victim: str, shell: str) -> None:
    """SIGKILL of the stage, or of dvc: nothing lives on; the next repro ends with equal bytes.

    DVC starts a stage through the user's shell: bash makes way for it, Debian's sh stays in between.
    """
    toy.stage("pretrain", TRAIN)
    (toy.root / "hold").touch()
    process = toy.start("dvc", "repro", SHELL=f"/bin/{shell}")
    wait_until(lambda: len(_steps(toy)) > 20, process=process)
    [worker] = _children(process.pid)
    who = identity(worker)
    os.kill(worker if victim == "stage" else process.pid, signal.SIGKILL)
    wait_until(lambda: not alive(who), seconds=15.0)
    process.communicate(timeout=30)
    assert process.returncode != 0
    before = len(_steps(toy))
    assert before < 60
    (toy.root / "hold").unlink()
    code, said = toy.run("dvc", "repro")
    assert code == 0, said
    again = _steps(toy)[before:]
    assert again[0] > 0, "started afresh instead of resuming"
    assert again[-1] == 59
    assert _outs(toy) == undisturbed


def test_killed_run_goes_on_in_mlflow_and_is_marked_in_prefect(toy: Toy) -> None:
    """The killed stage's MLflow run is the resumed one's; its Prefect run does not stay RUNNING for ever."""
    from mlflow.tracking import MlflowClient

    toy.stage("pretrain", TRAIN)
    (toy.root / "hold").touch()
    process = toy.start("pretrain")
    wait_until(lambda: len(_steps(toy)) > 20, process=process)
    process.kill()
    process.communicate(timeout=10)
    (toy.root / "hold").unlink()
    wait_until(lambda: toy.prefect_states(process.pid) == ["CRASHED"])
    code, said = toy.run("pretrain")
    assert code == 0, said
    wait_until(lambda: not sender.boxes(toy.root))
    client = MlflowClient(tracking_uri=f"sqlite:///{toy.root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("srfoundry")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`dvc.stage` = 'pretrain'")
    assert [run.info.status for run in runs] == ["FINISHED"]
    steps = [metric.step for metric in client.get_metric_history(runs[0].info.run_id, "loss")]
    assert set(steps) >= set(range(1, 61)), "points from before the kill are missing"


def test_two_repros_at_once(toy: Toy, undisturbed: dict[str, bytes]) -> None:
    """The second says that the first is at work and ends; the first is unharmed."""
    toy.stage("pretrain", TRAIN)
    (toy.root / "hold").touch()
    first = toy.start("dvc", "repro")
    wait_until(lambda: len(_steps(toy)) > 3, process=first)
    code, said = toy.run("dvc", "repro")
    (toy.root / "hold").unlink()
    assert code != 0
    assert "is busy, it is being blocked by" in said or "already running" in said, said
    said, _ = first.communicate(timeout=120)
    assert first.returncode == 0, said
    assert _steps(toy) == list(range(60))
    assert _outs(toy) == undisturbed


BUSY = """
from srfoundry.core.parallel import threads
import time
def work(item):
    (stage.root / "busy").touch()
    time.sleep(600)
list(threads(2)(work, [1, 2, 3], "work"))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_a_stage_whose_threads_work_on(toy: Toy, number: int) -> None:
    """Soon, with the advice said once and no traceback."""
    toy.stage("pretrain", BUSY)
    process = toy.start("pretrain")
    wait_until((toy.root / "busy").exists, process=process)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    assert said.count("pretrain: stopped; dvc repro goes on from the last checkpoint") == 1
    assert "Traceback" not in said, said


def test_orphan_ends_even_where_sigterm_is_ignored(tmp_path: Path, environment: dict[str, str]) -> None:
    """The last line of defence: a thread ends the process when its parent is gone."""
    worker = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "from pipelines.support.processes import die_with_parent; die_with_parent(); "
        f"open({str(tmp_path / 'ready')!r}, 'w').close(); time.sleep(60)"
    )
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {worker!r}]).wait()"
    process = subprocess.Popen([str(Path(environment["PATH"].split(":")[0]) / "python"), "-c", parent], env=environment)
    wait_until((tmp_path / "ready").exists, 20.0)
    [child] = _children(process.pid)
    who = identity(child)
    process.kill()
    process.wait()
    began = time.monotonic()
    wait_until(lambda: not alive(who), seconds=5.0)
    assert time.monotonic() - began < 5.0

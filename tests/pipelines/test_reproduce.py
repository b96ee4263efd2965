"""make repro: stages side by side, the same outputs as `dvc repro`, one line where one fails."""

import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from pipelines.support import forecast
from pipelines.support.dvc_runs import complaint, killed
from pipelines.support.graph import Graph
from pipelines.support.reproduce import concerned, plain
from srfoundry.config.params import load
from tests.conftest import REPO, Toy, wait_until
from tests.shipped import SHIPPED

WRITE = "stage.output('models/{0}.txt').write_text('{1}')\nstage.metrics({{'n': 1}})"


def graph_of(toy: Toy) -> None:
    toy.stage("pretrain", WRITE.format("pretrain", "p"))
    toy.stage("dual", WRITE.format("dual", "d"))
    toy.stage("metatrain", WRITE.format("metatrain", "m"), deps=["models/pretrain.txt"])
    toy.stage("evaluate", WRITE.format("evaluate", "e"), deps=["models/metatrain.txt", "models/dual.txt"])


def test_runs_what_is_stale_and_leaves_nothing_for_dvc(toy: Toy) -> None:
    graph_of(toy)
    code, said = toy.run("pipelines.support.reproduce", "--jobs", "2")
    assert code == 0, said
    assert "4 stages, 2 side by side, 1 thread each: about " in said and "Updating lock file" not in said
    assert (toy.root / "models" / "evaluate.txt").read_text() == "e"
    code, again = toy.run("dvc", "status")
    assert code == 0 and "up to date" in again
    code, said = toy.run("pipelines.support.reproduce")
    assert code == 0 and said == "", "nothing stale, nothing said"


def test_a_failing_stage_ends_it_with_its_own_line(toy: Toy) -> None:
    graph_of(toy)
    (toy.root / "dual.py").write_text(
        (toy.root / "dual.py").read_text().replace("stage.metrics", "stage.input('gone')\n    stage.metrics")
    )
    code, said = toy.run("pipelines.support.reproduce", "--jobs", "2")
    assert code == 1 and "Traceback" not in said
    assert "error: stage dual failed: gone not found" in said and "goes on from the last checkpoints" in said
    assert not (toy.root / "models" / "evaluate.txt").exists()


@pytest.mark.parametrize(
    ("code", "number", "said"),
    [
        (-11, 11, "ended by SIGSEGV"),
        (139, 11, "ended by SIGSEGV"),
        (-9, 9, "ended by SIGKILL"),
        (-8, 8, "ended by SIGFPE"),
        (-2, 0, "exited with -2"),  # a person's
        (130, 0, "exited with 130"),
        (255, 0, "exited with 255"),
        (1, 0, "exited with 1"),
    ],
)
def test_a_stage_that_a_signal_ended_says_which(code: int, number: int, said: str) -> None:
    """As a library's crash does, after which the stage itself has no word."""
    lines = ["Running stage 'dual':", f"ERROR: failed to reproduce 'dual': failed to run: python, exited with {code}"]
    assert killed(lines) == number and said in complaint(lines)


SLEEP = """
import time
for count in range(600):
    stage.output('at').write_text(str(count))
    time.sleep(0.1)
"""


def ends(process: subprocess.Popen[str]) -> str:
    """What a process says until it ends, which it must do soon."""
    try:
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    return said


def at_work(root: Path, process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes of stages below one, once a silent stage is at work."""
    wait_until((root / "at").exists, process=process)
    below = psutil.Process(process.pid).children(recursive=True)
    return [one for one in below if one.cmdline()[1:3] in (["-m", "dual"], ["-m", "pretrain"])]


@pytest.fixture
def silent(toy: Toy) -> Toy:
    """A toy whose stage `dual` works for a minute without a word, beside `pretrain`."""
    toy.stage("dual", SLEEP)
    toy.stage("pretrain", "import time\ntime.sleep(600)")
    return toy


def test_a_killed_stage_ends_the_silent_one_beside_it(silent: Toy) -> None:
    """The signal is named, nothing is left at work, and nobody waits for a stage that says nothing."""
    process = silent.start("pipelines.support.reproduce", "--jobs", "2")
    stages = at_work(silent.root, process)
    assert len(stages) == 2
    next(one for one in stages if one.cmdline()[2] == "pretrain").kill()
    said = ends(process)
    assert process.returncode == 1 and "Traceback" not in said
    assert "error: stage pretrain failed: its process was ended by SIGKILL" in said
    assert psutil.wait_procs(stages, timeout=20)[1] == []


def test_an_interrupt_ends_all_and_a_second_run_beside_it_is_refused(silent: Toy) -> None:
    process = silent.start("pipelines.support.reproduce", "--jobs", "2")
    stages = at_work(silent.root, process)
    code, said = silent.run("pipelines.support.reproduce")
    assert code == 1 and said.startswith("error: the pipeline is already running in ") and said.count("\n") == 1
    process.send_signal(signal.SIGINT)  # to it alone, as an editor or a supervisor sends it
    said = ends(process)
    assert process.returncode == 130 and "Traceback" not in said
    assert said.endswith("stopped; make repro goes on from the last checkpoints\n")
    assert psutil.wait_procs(stages, timeout=20)[1] == []


def test_a_number_of_jobs_that_is_none_is_one_line(toy: Toy) -> None:
    code, said = toy.run("pipelines.support.reproduce", "--jobs", "0")
    assert code == 2 and "0 is no number of stages" in said


def test_only_what_depends_on_a_stale_stage_is_looked_at() -> None:
    graph = Graph(REPO)
    assert set(concerned(graph, ["evaluate"])) == {"evaluate", "export"}
    assert concerned(graph, ["search"])["prune"] == ["search"], "dual is up to date and no longer waited for"
    assert concerned(graph, []) == {}


def test_lines_are_for_people() -> None:
    bar = "dual:  24%|##4       | 371/1500 [00:45<02:17,  8.21it/s, total=0.03622]"
    assert plain(bar, "dual") == "24 %, 371/1500, 8.21it/s, 02:17 left"
    assert plain("estimate aniso:  50%|#####     | 1/2 [00:01<?, ?it/s]", "estimate") == "aniso 50 %, 1/2, ?it/s"
    assert plain("dual: done in 42 s", "dual") == "done in 42 s"


def test_a_forecast_grows_with_the_steps(tmp_path: Path) -> None:
    """Of every stage of the graph, from timed steps; only the order of magnitude is promised."""
    text = SHIPPED.read_text()
    (tmp_path / "params.yaml").write_text(text)
    names = Graph(REPO).order()
    found = forecast.seconds(load(tmp_path / "params.yaml"), names)
    assert set(found) == set(names) and all(0 < value < 36_000 for value in found.values())
    assert found["dual"] > found["search"] > 0


@pytest.mark.parametrize(("total", "told"), [(42.4, "42 s"), (600, "10 min"), (12_000, "3 h 20 min")])
def test_times_as_people_say_them(total: float, told: str) -> None:
    assert forecast.in_words(total) == told

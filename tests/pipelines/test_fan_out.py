"""A cluster makes the same bytes as threads do, and says in one line when it cannot be had."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.support import fan_out
from srfoundry.core.parallel import Map
from tests.conftest import Toy

# Prefect and Dask stay in a process of their own: both leave threads and settings behind.
SCRIPT = """
import os
import sys
from pathlib import Path

from distributed import LocalCluster
from prefect import flow

from pipelines.support import fan_out
from srfoundry.core.errors import FoundryError
from srfoundry.core.parallel import threads
from srfoundry.data.prepare import prepare
from srfoundry.imaging import images
from tests.imaging.test_patches import Examined, photograph
from tests.lost import killing, once_killed


@flow(validate_parameters=False)
def stage(folder, found):
    prepare(Path(folder), found, [1, 2], mapped=fan_out.mapped())


def refused(work):
    try:
        work()
    except FoundryError as error:
        print("error:", error)


if __name__ == "__main__":
    found = {}
    for index in range(5):
        path = Path("photographs") / f"{index}.png"
        images.write(photograph(30 + index, 40, index), path)
        found[str(index)] = Examined(path, 30 + index, 40)
    prepare(Path("threads"), found, [1, 2], mapped=threads(2))
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        os.environ[fan_out.ADDRESS] = cluster.scheduler_address
        stage("cluster", found)
        at_work = set(fan_out.mapped()(os.path.realpath, ["/proc/self"] * 4, "asking"))
        print(f"/proc/{os.getpid()}" in at_work, list(fan_out.mapped()(abs, range(-9, 0), "ordering")))
        found["2"] = Examined(Path("none.png"), 30, 40)
        refused(lambda: stage("refused", found))
        print("workers are killed", file=sys.stderr)
        marks = Path("marks").absolute()
        marks.mkdir()
        print(list(fan_out.mapped()(once_killed, [(number, marks) for number in range(4)], "losing")))
        cluster.wait_for_workers(2)
        cluster.scheduler.allowed_failures = 0  # times that Dask itself tries a task again whose worker died
        print(list(fan_out.mapped()(once_killed, [(number, marks) for number in (2, 12)], "sending again")))
        os.environ["SRFOUNDRY_DASK_RETRIES"] = "0"
        refused(lambda: list(fan_out.mapped()(killing, [1], "giving up")))
    fan_out.PATIENCE = 1
    refused(fan_out.mapped)
"""


def test_without_an_address_threads_do_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual case needs neither Prefect nor Dask."""
    monkeypatch.delenv(fan_out.ADDRESS, raising=False)
    mapped = fan_out.mapped(2)
    assert isinstance(mapped, Map)
    assert list(mapped(abs, [-2, 1], "working")) == [2, 1]


def test_cluster_makes_the_same_bytes(tmp_path: Path, environment: dict[str, str]) -> None:
    """Tasks of a Prefect subflow on two worker processes; errors come back as they are."""
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "script.py"],
        cwd=tmp_path,
        env=environment | {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"},
        text=True,
        capture_output=True,
        timeout=200,
    )
    said = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    for name in ("x1.bin", "x2.bin", "index.json"):
        assert (tmp_path / "cluster" / name).read_bytes() == (tmp_path / "threads" / name).read_bytes()
    assert said[0] == "False [9, 8, 7, 6, 5, 4, 3, 2, 1]"
    assert said[1].startswith("error: ") and "none.png not found" in said[1]
    assert not (tmp_path / "refused" / "index.json").exists()
    assert said[2] == "[0, 10, 20, 30]", "the killed worker's task went to another one"
    assert said[3] == "[20, 120]", "what Dask gives up is sent again"
    assert said[4].startswith("error: the Dask cluster at SRFOUNDRY_DASK=tcp://127.0.0.1:")
    assert "lost a task 1 times (KilledWorker)" in said[4]
    assert said[5].startswith("error: no Dask scheduler answers at SRFOUNDRY_DASK=tcp://127.0.0.1:")
    quiet = done.stderr.partition("workers are killed")[0]  # afterwards Dask says what it lost
    assert len(said) == 6 and "Traceback" not in quiet and "Warning" not in quiet


CLUSTER = """
import sys

from distributed import LocalCluster

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""
LOSES = """
import os, signal
import psutil
mark = stage.root / "killed"
if not mark.exists():
    mark.touch()
    [worker, *_] = [each for each in psutil.Process().parents() if "spawn_main" in " ".join(each.cmdline())]
    worker.kill()
    signal.pause()
stage.output("models/{0}.txt").write_text("made once more")
stage.metrics({{"n": 1}})
"""


def test_stages_are_tasks_of_the_cluster_and_outlive_a_lost_worker(toy: Toy) -> None:
    """What each stage does is said as ever; the one whose worker is killed is run by another one."""
    toy.stage("pretrain", "stage.output('models/pretrain.txt').write_text('p')\nstage.metrics({'n': 1})")
    toy.stage("metatrain", LOSES.format("metatrain"), deps=["models/pretrain.txt"])
    (toy.root / "cluster.py").write_text(CLUSTER)
    cluster = subprocess.Popen(
        [sys.executable, "cluster.py"],
        cwd=toy.root,
        env=toy.environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert cluster.stdout is not None
        code, said = toy.run("pipelines.support.factory", "run", SRFOUNDRY_DASK=cluster.stdout.readline().strip())
    finally:
        cluster.communicate("", timeout=60)
    assert code == 0, said
    rows = [line.split() for line in said.splitlines() if line.startswith(("pretrain  ", "metatrain  "))]
    assert rows == [["pretrain", "ran"], ["metatrain", "ran"]]
    assert (toy.root / "killed").exists()
    assert (toy.root / "models/metatrain.txt").read_text() == "made once more"

"""What all tests share: golden data, a small params file, toy factories in a folder of their own, and one server."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.support import server
from pipelines.support.processes import identity
from tests import pretended_gpu
from tests.shipped import SHIPPED

REPO = Path(__file__).resolve().parent.parent
SHARED = "SRFOUNDRY_TEST_SERVER"  # the folder of the server that all workers of a test run share


def reference(name: str) -> dict[str, np.ndarray]:
    """The arrays of tests/golden/NAME.npz, from the authors' programs; its README says what each proves."""
    with np.load(REPO / "tests" / "golden" / f"{name}.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def golden(name: str) -> Path:
    """Data for research only: $SRFOUNDRY_GOLDEN/name or ../shared/data/name; without it the test is skipped.

    What may be given away stands in tests/golden (`reference`).
    """
    given = os.environ.get("SRFOUNDRY_GOLDEN")
    folder = Path(given) if given else REPO.parent / "shared" / "data"
    if not (folder / name).exists():
        pytest.skip(f"golden data {name} not found in {folder}; set SRFOUNDRY_GOLDEN to the folder that holds it")
    return folder / name


def pytest_configure(config: pytest.Config) -> None:
    """Make the shared server's folder once, before workers start and inherit its name; each knows the pretended GPU."""
    pretended_gpu.register()
    if not hasattr(config, "workerinput"):
        os.environ[SHARED] = tempfile.mkdtemp(prefix="srfoundry-tests-")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests that run stages as processes come first: they take longest, and no worker should end by waiting."""
    items.sort(key=lambda item: "tests/pipelines" not in item.path.as_posix())


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the shared server, if a test started it."""
    if not hasattr(config, "workerinput") and SHARED in os.environ:
        folder = Path(os.environ.pop(SHARED))
        server.PREFECT.stop(folder)
        shutil.rmtree(folder, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once what the pages were not tested for."""
    skipped = [report.longrepr for report in terminalreporter.stats.get("skipped", [])]
    for reason in sorted({str(each[2]) for each in skipped if isinstance(each, tuple)}):
        if browser_is_missing(reason):
            terminalreporter.write_line(f"the pages were not tested: {reason.removeprefix('Skipped: ')}")


def browser_is_missing(reason: str) -> bool:
    """Whether a test was skipped for want of a browser or of what runs in it (tests/browser.py)."""
    return reason.startswith(("Skipped: no browser", "Skipped: no ONNX Runtime Web"))


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """What stage processes under test see: this interpreter first, one Prefect server for the whole test run."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_", "DVC_"))}
    folder = Path(os.environ[SHARED])
    before = dict(os.environ)
    try:
        server.prepare_environment(folder)
        url = server.PREFECT.ensure(folder)
    finally:
        os.environ.clear()
        os.environ.update(before)
    paths = [str(REPO / "src"), str(REPO)]
    return keep | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(paths),
        "PREFECT_API_URL": f"{url}/api",
        "OMP_NUM_THREADS": "1",
    }


class Toy:
    """A folder with params.yaml, dvc.yaml and stages of a few lines, run through the real stage.main."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.root = root
        self.environment = environment
        (root / ".dvc").mkdir(parents=True)
        (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n    no_scm = true\n")
        shutil.copy(SHIPPED, root)
        (root / "dvc.yaml").write_text("stages:\n")

    def stage(self, name: str, body: str, *, deps: list[str] | None = None, outs: list[str] | None = None) -> None:
        """Add a stage whose function has this body; it takes the name and the section of a real one."""
        body = textwrap.indent(textwrap.dedent(body).strip(), "    ")
        (self.root / f"{name}.py").write_text(
            f"from pipelines.support.stage import Stage, main\n\n\ndef {name}(stage: Stage) -> None:\n"
            f'    """A toy."""\n{body}\n\n\nif __name__ == "__main__":\n    main({name})\n'
        )
        entry = f"  {name}:\n    cmd: python -m {name}\n    params: [shared, {name}]\n    deps: [{name}.py"
        entry += "".join(f", {path}" for path in deps or []) + "]\n    outs:\n"
        entry += "".join(f"    - {path}\n" for path in outs or [f"models/{name}.txt"])
        entry += f"    metrics:\n    - results/{name}/metrics.json: {{cache: false}}\n"
        with (self.root / "dvc.yaml").open("a") as file:
            file.write(entry)

    def start(self, *command: str, **more: str) -> subprocess.Popen[str]:
        """Start a command in the folder; standard output and error come together."""
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=self.root,
            env=self.environment | more,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore Ctrl-C
        )

    def run(self, *command: str, **more: str) -> tuple[int, str]:
        """Run a command in the folder; return its exit code and everything it said."""
        process = self.start(*command, **more)
        said, _ = process.communicate(timeout=240)
        return process.returncode, said

    def prefect(self, path: str, body: dict[str, Any]) -> Any:
        """What Prefect's server answers; over HTTP, for Prefect would freeze its settings here.

        Where its database is busy it answers 503, upon which Prefect's own client asks again, too.
        """
        address = f"{self.environment['PREFECT_API_URL']}/{path}"
        request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
        for wait in (0.5, 1, 2, 4, None):
            try:
                with urllib.request.urlopen(request, timeout=10) as reply:
                    return json.loads(reply.read())
            except urllib.error.HTTPError as error:
                if error.code != 503 or wait is None:
                    raise
                time.sleep(wait)

    def prefect_states(self, pid: int) -> list[str]:
        """States of the Prefect runs of one process."""
        runs = self.prefect("flow_runs/filter", {"limit": 200, "sort": "START_TIME_DESC"})
        mark = f"process:{platform.node()}/{identity(os.getpid()).split('/')[0]}/{pid}/"
        return [run["state_type"] for run in runs if any(tag.startswith(mark) for tag in run["tags"])]


@pytest.fixture
def toy(tmp_path: Path, environment: dict[str, str], empty_store: Path) -> Toy:
    """An empty toy factory, with an MLflow database to save each test the seconds that making one takes."""
    made = Toy(tmp_path / "toy", environment)
    shutil.copy(empty_store, made.root)
    return made


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: making one takes seconds, copying it none."""
    from srfoundry.tracking.runs import Tracker

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    Tracker(f"sqlite:///{path}", "none", path.parent / "none")
    return path


@pytest.fixture
def mlflow_store(tmp_path: Path, empty_store: Path) -> Iterator[str]:
    """A fresh sqlite store with the experiment srfoundry, which MLflow's defaults point to."""
    import mlflow

    from srfoundry.tracking.runs import Tracker

    uri = f"sqlite:///{shutil.copy(empty_store, tmp_path / 'mlflow.db')}"
    with mlflow_at(uri):
        tracker = Tracker(uri, "srfoundry", tmp_path / "mlartifacts")
        mlflow.set_experiment(experiment_id=tracker.experiment)
        yield uri


@contextmanager
def mlflow_at(uri: str) -> Iterator[None]:
    """MLflow's address within; afterwards it has none of its own, and MLFLOW_TRACKING_URI is what it was."""
    import mlflow

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)  # MLflow sets it, too
        mlflow.set_tracking_uri(uri)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(None)  # pyright: ignore[reportArgumentType]


def wait_until(true: Callable[[], bool], seconds: float = 120.0, process: subprocess.Popen[str] | None = None) -> None:
    """Wait until a condition holds; fail the test when it does not in time, or when `process` ends before."""
    deadline = time.monotonic() + seconds
    while not true():
        if process is not None and process.poll() is not None and not true():
            raise AssertionError(f"the process ended too early:\n{process.communicate()[0]}")
        assert time.monotonic() < deadline, f"still not true after {seconds:.0f} s"
        time.sleep(0.05)

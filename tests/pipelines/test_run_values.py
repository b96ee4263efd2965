"""A run's own values are in params.yaml while it runs, and never for the next one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.support.dvc_runs import alone
from pipelines.support.run_values import MARK, restore, under
from srfoundry.config import params
from srfoundry.core.errors import FoundryError
from tests.conftest import REPO
from tests.shipped import SHIPPED

KILLED = """
import os, signal
from pathlib import Path
from pipelines.support.run_values import under
with under({"dual.steps": 7}, Path()):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copy(SHIPPED, tmp_path)
    return tmp_path


def steps(root: Path) -> int:
    return params.load(root / "params.yaml").dual.descent.steps


def kill_a_run(root: Path) -> None:
    paths = os.pathsep.join([str(REPO / "src"), str(REPO)])
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=root, env=os.environ | {"PYTHONPATH": paths}, check=False)
    assert done.returncode == -9
    assert steps(root) == 7


def test_values_are_gone_afterwards(root: Path) -> None:
    """Also after a run that failed, or one whose values were refused."""
    before = (root / "params.yaml").read_bytes()
    with under({"dual.steps": 7}, root):
        assert steps(root) == 7
    with pytest.raises(RuntimeError), under({"dual.steps": 7}, root):
        raise RuntimeError
    with pytest.raises(FoundryError), under({"dual.steps": -1}, root):
        pass
    assert (root / "params.yaml").read_bytes() == before and not (root / MARK).exists()


@pytest.mark.parametrize("values", [{}, {"dual.steps": 9}])
def test_values_of_a_run_that_was_killed_are_not_the_next_ones(
    values: dict[str, int], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (root / "params.yaml").read_bytes()
    usual = steps(root)
    kill_a_run(root)
    with under(values, root):
        assert steps(root) == values.get("dual.steps", usual)
    assert (root / "params.yaml").read_bytes() == before and not (root / MARK).exists()
    assert capsys.readouterr().err.count("\n") == 1


def test_what_somebody_wrote_since_stays(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kill_a_run(root)
    path = root / "params.yaml"
    path.write_text("# mine\n" + path.read_text())
    restore(root)
    assert path.read_text().startswith("# mine") and steps(root) == 7 and not (root / MARK).exists()
    assert "stays as it is" in capsys.readouterr().err


def make(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The Makefile's recipes in a folder that has nothing else of the project."""
    shutil.copy(REPO / "Makefile", root)
    shutil.copytree(REPO / "params", root / "params", dirs_exist_ok=True)
    (root / ".venv").mkdir(exist_ok=True)
    (root / "scripts").mkdir(exist_ok=True)
    (root / "scripts" / "setup.sh").write_text("")
    paths = {
        "PYTHONPATH": [str(REPO / "src"), str(REPO)],
        "PATH": [str(Path(sys.executable).parent), os.environ["PATH"]],
    }
    env = os.environ | {name: os.pathsep.join(found) for name, found in paths.items()}
    return subprocess.run(["make", *words], cwd=root, env=env, text=True, capture_output=True, check=False)


@pytest.mark.parametrize("words", [["clean"], ["preset", "NAME=direct_x4"]])
def test_values_of_a_run_that_was_killed_outlast_neither_clean_nor_preset(words: list[str], root: Path) -> None:
    """Clean removes the mark by which they are known, a preset writes over it."""
    usual = steps(root)
    kill_a_run(root)
    with alone(root):
        refused = make(root, *words)
    assert refused.returncode and "already running" in refused.stderr and (root / MARK).exists() and steps(root) == 7
    done = make(root, *words)
    assert not done.returncode and "as before a run that was killed" in done.stderr, done.stderr
    assert not (root / MARK).exists() and steps(root) == usual

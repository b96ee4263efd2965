"""A finished tiny project, and copies of it in which single stages are run, disturbed and compared."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines.support import sender
from pipelines.support.graph import Graph
from srfoundry.core import atomic
from srfoundry.core.atomic import write_bytes
from srfoundry.core.errors import FoundryError

REPO = Path(__file__).resolve().parent.parent
FINISHED = "finished.json"  # says what the undisturbed project holds
LEFT = ("src", "pipelines", "inputs", ".dvc", ".git", ".ckpt", ".prefect", "mlartifacts", "set", "set.zip", FINISHED)
QUIET = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
    "SRFOUNDRY_IDLE_MINUTES": "1",
}


@dataclass(frozen=True)
class Finished:
    """A project whose stages have all run once, undisturbed.

    Args:
        root: its folder.
    """

    root: Path

    @classmethod
    def make(cls, root: Path) -> "Finished":
        """The project in `root`; made, and run by `dvc repro`, if it is not there."""
        found = cls(root)
        if not (root / FINISHED).exists():
            from tests import tiny_graph

            shutil.rmtree(root, ignore_errors=True)
            root.parent.mkdir(parents=True, exist_ok=True)
            tiny_graph.make(root)
            found.lessen()
            command = [sys.executable, "-m", "dvc", "repro"]
            done = subprocess.run(command, cwd=root, env=found.environment(root), text=True, capture_output=True)
            if done.returncode:
                raise FoundryError(f"the tiny graph failed in {root}: {done.stderr[-2000:]}")
            found.note()
        elif found.noted.get("programs") != programs():
            found.renew()
        return found

    def lessen(self) -> None:
        """Have two small photographs looked at where the tiny graph has the bundled ones, which take a minute."""
        for name in ("coffee", "rocket"):
            shutil.copy(self.root / "set" / f"{name}.png", self.root / "inputs/unpaired")
        path = self.root / "params.yaml"
        values = YAML(typ="safe").load(path.read_text())
        values["evaluate"]["real"] = "inputs/unpaired"
        with path.open("w") as file:
            YAML().dump(values, file)

    def renew(self) -> None:
        """Take this repository's programs where others were run before; what they wrote must stay the same."""
        from tests import tiny_graph

        with tempfile.TemporaryDirectory() as folder:
            fresh = tiny_graph.make(Path(folder) / "fresh")
            for name in ("src", "pipelines"):
                shutil.rmtree(self.root / name)
                shutil.copytree(fresh / name, self.root / name)
            shutil.copy(fresh / "dvc.yaml", self.root)
        self.note()

    def note(self) -> None:
        """Write down what stands in it."""
        write_bytes(self.root / FINISHED, json.dumps({"digests": digests(self.root), "programs": programs()}).encode())

    def environment(self, root: Path) -> dict[str, str]:
        """What a process sees that works in `root`: this project's code, and nothing of the person's servers."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_", "DVC_"))
        }
        paths = [str(self.root / "src"), str(self.root), str(REPO)]
        return kept | QUIET | {"PYTHONPATH": os.pathsep.join(paths), "PREFECT_API_URL": "http://127.0.0.1:9/api"}

    @cached_property
    def graph(self) -> Graph:
        """Of its stages."""
        return Graph(self.root)

    @cached_property
    def stages(self) -> list[str]:
        """All of them, each after those that it needs."""
        return self.graph.order()

    @cached_property
    def before(self) -> dict[str, str]:
        """sha256 of every file by its path."""
        return self.noted["digests"]

    @property
    def noted(self) -> dict[str, Any]:
        """What was written down when it was made."""
        return json.loads((self.root / FINISHED).read_text())

    def outputs(self, stage: str) -> list[str]:
        """Files and folders that a stage writes, its pictures included."""
        folder = f"results/{stage.replace('@', '/')}"
        return [*self.graph.outputs(stage), *([] if stage == "environment" else [folder])]

    def wrote(self, path: str, stage: str) -> bool:
        """Whether a file is a stage's."""
        return any(path == out or path.startswith(f"{out}/") for out in self.outputs(stage))

    def command(self, stage: str) -> list[str]:
        """The words after `python -m` that run a stage."""
        module, _, item = stage.partition("@")
        options = [
            word
            for key, value in zip(self.graph.matrix(module), item.split("-"), strict=False)
            for word in (f"--{key}", value)
        ]
        return [f"pipelines.{module}", *options]

    @property
    def trials(self) -> Path:
        """The folder that holds those of trials."""
        return self.root.with_name("trials")

    @contextmanager
    def trial(self) -> Iterator[Path]:
        """A folder for one trial, of a name that no other had; it is gone afterwards."""
        root = self.trials / f"{time.time_ns():020d}"
        root.mkdir(parents=True)
        self.trials.chmod(0o777)  # trials of users without rights write beside it
        try:
            yield root
        finally:
            for path in self.trials.iterdir():
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()

    def copy(self, root: Path, stage: str, *, former: bool, parts: random.Random | None = None) -> None:
        """A copy in which one stage can be run.

        Args:
            root: of the copy; must be empty or not be there.
            stage: of which nothing is there.
            former: whether what the stage wrote stands there all the same, as after a change of values.
            parts: of the chance by which finished parts stand there, as a kill leaves them; none if not given.
        """
        shutil.copytree(
            self.root, root, dirs_exist_ok=True, ignore=lambda folder, names: _left(self.root, folder, names)
        )
        for name in ("src", "pipelines", "inputs"):
            (root / name).symlink_to(self.root / name)
        (root / ".dvc").mkdir()
        (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n    no_scm = true\n")
        (root / sender.FOLDER).mkdir(parents=True)
        (root / sender.FOLDER / sender.LOCK).touch()
        for path in [] if former else self.outputs(stage):
            target = root / path
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
        for path in [] if parts is None else self.parts(stage, parts):
            target = root / ".ckpt" / stage / path
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (self.kept / stage / path).is_dir() else shutil.copy)(self.kept / stage / path, target)

    @property
    def kept(self) -> Path:
        """The folder with what stages keep while they run, of each in a folder of its name."""
        return self.root.with_name("kept")

    def parts(self, stage: str, rng: random.Random) -> list[Path]:
        """Finished parts of a stage that a trial begins with: all but one or two, at times none.

        Six networks that are exported before anything can go wrong with the next stage cost more than all else.
        """
        folder = self.kept / stage
        whole = {path.parent for path in folder.rglob(atomic.KEPT)}
        single = {path for path in folder.rglob("*") if path.is_file() and not whole & {*path.parents}}
        found = sorted(path.relative_to(folder) for path in whole | single)
        missing = rng.choice([1, 2]) if rng.random() < 0.9 else len(found)
        return rng.sample(found, max(0, len(found) - missing))

    def differing(self, root: Path, stage: str) -> list[str]:
        """Files of a stage that are not what the undisturbed run wrote, too many or missing."""
        found = digests(root)
        names = {path for path in (*found, *self.before) if self.wrote(path, stage)}
        return sorted(path for path in names if found.get(path) != self.before.get(path))

    def harmed(self, root: Path, stage: str) -> list[str]:
        """Files of other stages that are not what they were, and files of this one that are there and not whole."""
        found = digests(root)
        others = [path for path in self.before if not self.wrote(path, stage)]
        lost = [path for path in others if found.get(path) != self.before[path]]
        single = [path for path in self.graph.outputs(stage) if path in self.before and path in found]
        return sorted(lost + [path for path in single if found[path] != self.before[path]])


def programs() -> str:
    """Stands for this repository's programs."""
    total = hashlib.sha256()
    for name in ("src", "pipelines"):
        for path in sorted((REPO / name).rglob("*.py")):
            total.update(path.relative_to(REPO).as_posix().encode() + path.read_bytes())
    return total.hexdigest()


def digests(root: Path) -> dict[str, str]:
    """sha256 of every file that stages write for others: models, data, results, exports, the values, dvc.lock."""
    parts = [root / name for name in ("data", "models", "results", "exports")]
    files = [path for part in parts for path in part.rglob("*") if path.is_file()]
    files += [path for path in (root / "params.yaml", root / "dvc.yaml") if path.is_file()]
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not path.name.startswith(".")
    }


def _left(root: Path, folder: Any, names: list[str]) -> set[str]:
    return {name for name in names if name in LEFT} if Path(folder) == root else set()

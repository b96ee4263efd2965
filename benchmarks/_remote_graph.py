"""A graph through the programs of a team (`_remote_programs`): deployed, run by a worker, pushed, cloned, pulled."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from base64 import b64encode
from pathlib import Path
from typing import Any

from benchmarks._remote_programs import Programs
from pipelines.support.graph import ALWAYS

RUNNING = "Running stage '"
WHO = {f"GIT_{who}_{what}": "x@y.z" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


class RemoteGraph:
    """One project on its way through the programs.

    Args:
        programs: the running ones.
        root: the project's folder, no git repository yet; its inputs/kernels go to DVC, too.
        environment: of all that runs in the project and its clone, PYTHONPATH left out.
    """

    def __init__(self, programs: Programs, root: Path, environment: dict[str, str]) -> None:
        self.programs = programs
        self.root = root
        self._environment = environment
        self._asked = 0

    def publish(self, notify: str = "") -> None:
        """Put the project under git, name DVC's remote, and make the Prefect server ready for it.

        Args:
            notify: address that a failed night is posted to.
        """
        (self.root / ".dvc" / "config").write_text("[core]\n    analytics = false\n    autostage = false\n")
        (self.root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
        self._git("init", "-q", where=self.root)
        self._dvc("remote", "add", "-d", "store", self.programs.store.remote, where=self.root)
        self._keys(self.root)
        self._dvc("add", "-q", "inputs/kernels", where=self.root)
        self.commit("a project")
        self.programs.environment["SRFOUNDRY_NOTIFY"] = notify
        self._run("pipelines.support.deploying", where=self.root)

    def work(self) -> str:
        """Start a worker, ask for a run of the deployment, and wait for it; returns the state that it ended in."""
        self.programs.environment |= self._python(self.root)
        self.programs.worker(self.root)
        return self.ask("factory")

    def ask(self, deployment: str, **parameters: Any) -> str:
        """Ask for a run of a deployment of the factory, and wait for it; returns the state that it ended in."""
        given = [word for key, value in parameters.items() for word in ("--param", f"{key}={json.dumps(value)}")]
        name = f"{deployment} {self._asked}"
        self._asked += 1
        words = ["prefect", "deployment", "run", f"factory/{deployment}", "--flow-run-name", name, *given, "--watch"]
        self._run(*words, where=self.root, code=None)
        [run] = self.prefect("flow_runs/filter", {"flow_runs": {"name": {"any_": [name]}}})
        return str(run["state_type"])

    def commit(self, message: str) -> None:
        """Everything that git knows of or should."""
        self._git("add", "-A", where=self.root)
        self._git("commit", "-qm", message, where=self.root)

    def clone(self, target: Path) -> list[str]:
        """Clone what was committed, pull from DVC's remote, and return the stages that `dvc repro` runs there.

        `environment`, which looks at what is installed, always runs and does not count.
        """
        self._git("clone", "-q", str(self.root), str(target), where=target.parent)
        for name in ("photographs", "unpaired"):  # which set-up makes
            (target / "inputs" / name).mkdir(parents=True, exist_ok=True)
        self._keys(target)
        self._dvc("pull", "-q", where=target)
        said = self._dvc("repro", where=target)
        ran = [line.removeprefix(RUNNING).rstrip("':") for line in said.splitlines() if line.startswith(RUNNING)]
        return [stage for stage in ran if stage != ALWAYS]

    def prefect(self, path: str, body: dict[str, Any]) -> Any:
        """What Prefect's API answers."""
        known = self.programs.environment
        request = urllib.request.Request(f"{known['PREFECT_API_URL']}/{path}", json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        who = b64encode(known["PREFECT_API_AUTH_STRING"].encode()).decode()
        request.add_header("Authorization", f"Basic {who}")
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.loads(reply.read())

    def _keys(self, where: Path) -> None:
        for name, value in self.programs.store.keys.items():
            self._dvc("remote", "modify", "--local", "store", name, value, where=where)

    def _python(self, where: Path) -> dict[str, str]:
        mine = [str(where / "src"), str(where)]
        known = [each for each in self._environment.get("PYTHONPATH", "").split(os.pathsep) if each]
        return self._environment | {"PYTHONPATH": os.pathsep.join([*mine, *known])}

    def _dvc(self, *words: str, where: Path) -> str:
        return self._run("dvc", *words, where=where)

    def _run(self, *command: str, where: Path, code: int | None = 0) -> str:
        return self.programs.run(*command, where=where, code=code, **self._python(where))

    def _git(self, *words: str, where: Path) -> None:
        environment = os.environ | WHO | {"GIT_CONFIG_GLOBAL": "/dev/null"}
        subprocess.run([shutil.which("git") or "git", *words], cwd=where, env=environment, check=True)


def here() -> dict[str, str]:
    """The environment of a project's programs: this Python first, nothing of another project's servers."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_", "DVC_"))}
    kept.pop("PYTHONPATH", None)
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}

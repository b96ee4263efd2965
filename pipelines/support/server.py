"""Local servers, one of a kind a repository, on demand: nine temporary Prefect servers cost a minute and outlive kills.

Prefect's own background server takes one fixed port, does not wait until it answers, and does not know a dead one.

python -m pipelines.support.server ui      starts or reuses the Prefect and the MLflow server and prints their addresses
python -m pipelines.support.server stop    ends them

They end by themselves, too: when nobody has used them for SRFOUNDRY_IDLE_MINUTES (30; 0 = never), or when the project's
folder is gone.
"""

import argparse
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipelines.support import settings
from pipelines.support.locks import locked
from pipelines.support.processes import alive, identity, importable
from pipelines.support.program import answering
from srfoundry.core.errors import FoundryError
from srfoundry.core.urls import redacted
from srfoundry.tracking import stores

QUIET = {  # nothing leaves this machine
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",  # a wrong address is an error, not eight hidden seconds
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the stage speaks for itself; the UI keeps the log
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",  # a traceback for each event that a server misses
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # ten processes and 1 GB otherwise
}

SAY = 20.0  # seconds of starting after which a person learns that it goes on


def prepare_environment(root: Path) -> None:
    """Set what Prefect and MLflow read at their first import; what the user has set, here or in .env, stays."""
    settings.prepare(root)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(root / ".prefect"))
    stores.prepare(root)


@dataclass(frozen=True)
class Service:
    """A local server: how to start it, where it answers, and from which port on to look for a free one."""

    name: str
    port: int
    health: str

    def command(self, port: int) -> list[str]:
        """The command line that serves on `port` of this machine."""
        if self.name == "prefect":
            return [
                sys.executable,
                "-m",
                "prefect",
                "server",
                "start",
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
            ]
        store = os.environ["MLFLOW_TRACKING_URI"]
        return [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--backend-store-uri",
            store,
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
        ]

    def ensure(self, root: Path, wait: float = 600.0) -> str:
        """The server's address, http://127.0.0.1:PORT: the one this repository already runs, or a new one.

        Args:
            root: the project's folder.
            wait: seconds in which a new one must answer, as long as its process lives.
        """
        folder = root / ".prefect"
        record = folder / f"{self.name}.json"
        with locked(folder / f"{self.name}.lock"):
            known = _read(record)
            if alive(known.get("process", "")) and self._answers(known["url"], 10.0, known["process"]):
                return known["url"]
            before = int(known.get("url", f":{self.port}").rpartition(":")[2])  # where others may still look for it
            for port in (before, *range(self.port, self.port + 100)):
                if not _free(port):
                    continue
                pid = self._start(root, port, folder / f"{self.name}.log")
                url = f"http://127.0.0.1:{port}"
                if self._answers(url, wait, identity(pid)) and _listens(pid, port):
                    record.write_text(json.dumps({"url": url, "process": identity(pid)}))
                    return url
                _end(pid)
                # another project's server, started at the same moment, may have been quicker: then on to the next port
                if _free(port):  # it died of something else than a port that was taken meanwhile
                    break
        raise FoundryError(f"the local {self.name} server did not start; read {folder / (self.name + '.log')}")

    def stop(self, root: Path) -> bool:
        """End this repository's server and its children; False where none runs."""
        record = root / ".prefect" / f"{self.name}.json"
        who = _read(record).get("process", "")
        record.unlink(missing_ok=True)
        if not alive(who):
            return False
        _end(int(who.split("/")[1]))
        return True

    def _start(self, root: Path, port: int, log: Path) -> int:
        environment = os.environ | {"PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api", "PYTHONPATH": importable()}
        for name in ("PREFECT_API_URL", "DVC_STAGE", "DVC_ROOT"):
            environment.pop(name, None)
        with log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.support.watched", str(port), *self.command(port)],
                cwd=root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # a group of its own, that `stop` ends as a whole
            )
        process.returncode = 0  # it outlives this process on purpose: Popen need not complain when it is dropped
        return process.pid

    def _answers(self, url: str, wait: float, who: str) -> bool:
        began = said = time.monotonic()
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while alive(who) and time.monotonic() - began < wait:
            try:
                with direct.open(url + self.health, timeout=2) as reply:
                    return reply.status == 200
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
            if time.monotonic() - said > SAY:
                said = time.monotonic()
                sys.stderr.write(f"the local {self.name} server is still starting, {said - began:.0f} s so far\n")
        return False


PREFECT = Service("prefect", 4200, "/api/health")
MLFLOW = Service("mlflow", 5000, "/health")


def ensure_prefect(root: Path) -> str:
    """Set PREFECT_API_URL, before any import of Prefect: the user's own, or this repository's local server."""
    if not os.environ.get("PREFECT_API_URL"):
        os.environ["PREFECT_API_URL"] = PREFECT.ensure(root) + "/api"
    return os.environ["PREFECT_API_URL"]


def _read(path: Path) -> dict[str, str]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _listens(pid: int, port: int) -> bool:
    """Whether it is a process or one of its children that serves a port of this machine."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        ends = [end for one in family for end in one.net_connections("tcp") if end.status == psutil.CONN_LISTEN]
    except psutil.NoSuchProcess:
        return False
    return any(end.laddr and end.laddr.port == port for end in ends)


def _end(pid: int, patience: float = 8.0) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + patience
        try:
            os.killpg(pid, number)
            while time.monotonic() < deadline:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
                os.killpg(pid, 0)
                time.sleep(0.1)
        except ProcessLookupError:
            return


def main() -> None:
    """Start or end the two user interfaces."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["ui", "stop"])
    action = parser.parse_args().action
    root = Path.cwd()
    with answering():
        prepare_environment(root)
        if action == "stop":
            ended = [service.name for service in (PREFECT, MLFLOW) if service.stop(root)]
            sys.stdout.write(f"ended: {', '.join(ended) or 'nothing was running'}\n")
            return
        prefect = os.environ.get("PREFECT_API_URL", "").removesuffix("/api") or PREFECT.ensure(root)
        mlflow = os.environ["MLFLOW_TRACKING_URI"]
        if not mlflow.startswith("http"):
            if importlib.util.find_spec("flask") is None:
                raise FoundryError("MLflow's pages are not installed; run: make setup EXTRAS=ui")
            mlflow = MLFLOW.ensure(root)
        sys.stdout.write(f"Prefect (runs, logs, schedules)    {redacted(prefect)}\n")
        sys.stdout.write(
            f"MLflow  (curves, pictures, models) {redacted(mlflow)}   choose 'Model training' at the top left\n"
        )
        sys.stdout.write("make stop ends both\n")


if __name__ == "__main__":
    main()

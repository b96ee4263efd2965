"""The programs of a team's set-up (docs/cluster.md), really started on this machine for as long as a `with` lasts.

PostgreSQL from the system's packages, MLflow's server and Prefect's on it, a store that keeps DVC's remote, and a
Prefect worker: all on free ports of this machine, with passwords of their own, and gone at the end, however it ends.
"""

import os
import pwd
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import _remote_stores as stores
from benchmarks._remote_process import Started, answers, connects, free_port
from pipelines.support.server import QUIET
from srfoundry.core.errors import FoundryError

LONGEST = 3600.0  # seconds that a command may take
POOL = "srfoundry"


def missing(store: str = "ssh") -> str:
    """What must be installed before these programs can start; empty where nothing lacks."""
    return "; ".join(([] if _postgresql() else ["apt-get install postgresql"]) + stores.missing(store))


@dataclass
class Programs:
    """The running set-up.

    Args:
        environment: what every program sees; the addresses and passwords of the servers are added as they start.
        kind: of the store, `ssh` or `s3`.
    """

    environment: dict[str, str]
    kind: str = "ssh"
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="srfoundry-remote-")))
    mlflow: str = ""
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    _ending: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self._started = Started(self.folder, self._ending)

    def __enter__(self) -> "Programs":
        """Start PostgreSQL, the store, MLflow and Prefect."""
        self._ending.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o755)  # PostgreSQL refuses root and runs as another user
        self.environment = dict(self.environment) | QUIET
        try:
            database = self._postgresql()
            self.store = stores.open_store(self.kind, self._started, self.environment)
            for wait in [self._mlflow(database), self._prefect(database)]:
                wait()
        except BaseException:
            self._ending.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End all, children too."""
        self._ending.close()

    def worker(self, project: Path) -> None:
        """Start a Prefect worker in a checkout; it pulls from the pool until the end."""
        more = {"SRFOUNDRY_PROJECT": str(project), "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
        command = ["prefect", "worker", "start", "--pool", POOL, "--type", "process", "--limit", "1"]
        self._started.start("worker", [sys.executable, "-m", *command], self.environment | more, where=project)

    def run(self, *command: str, where: Path, code: int | None = 0, **more: str) -> str:
        """Run one command of this Python in a folder and return what it said.

        Raises:
            FoundryError: it ended with another code than `code`; None takes any.
        """
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=where,
            env=self.environment | more,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LONGEST,
            check=False,
        )
        if code is not None and done.returncode != code:
            raise FoundryError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-6000:]}")
        return done.stdout

    def said(self) -> str:
        """Everything that the programs have said so far."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def _postgresql(self) -> str:
        """Start PostgreSQL with two databases; return the address before the database's name, password included."""
        programs, data = _postgresql(), self.folder / "postgresql"
        assert programs is not None
        data.mkdir()
        (word := self.folder / "word").write_text(self.password)
        root = os.geteuid() == 0
        user = "postgres" if root else pwd.getpwuid(os.geteuid()).pw_name
        if root:
            for path in (data, word):
                shutil.chown(path, "postgres", "postgres")
        as_user = {"user": user, "group": user, "extra_groups": []} if root else {}
        initdb = [programs / "initdb", "-D", data, "-U", "srfoundry", "-A", "scram-sha-256", "--pwfile", word]
        done = subprocess.run(
            [*map(str, initdb), "--no-sync", "-E", "UTF8", "--locale=C"],
            cwd="/",
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
            **as_user,
        )
        if done.returncode:
            raise FoundryError(f"initdb failed: {done.stderr[-1000:]}")
        word.unlink()
        port = free_port()
        options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
        options |= {"max_connections": 60, "shared_buffers": "32MB"}
        command = [str(programs / "postgres"), "-D", str(data), *(f"--{key}={value}" for key, value in options.items())]
        process = self._started.start("postgresql", command, self.environment, where=Path("/"), **as_user)
        address = f"postgresql://srfoundry:{self.password}@127.0.0.1:{port}"
        self._started.until(lambda: connects(port), "postgresql", process)
        for name in ("mlflow", "prefect"):
            done = subprocess.run(
                [str(programs / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "srfoundry", name],
                env={"PATH": os.environ["PATH"], "LC_ALL": "C", "PGPASSWORD": self.password},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise FoundryError(f"createdb {name} failed: {done.stderr[-1000:]}")
        return address

    def _mlflow(self, database: str) -> Callable[[], None]:
        """MLflow's server on PostgreSQL, which serves the artefacts, too."""
        port = free_port()
        self.mlflow = f"http://127.0.0.1:{port}"
        self.environment |= {"MLFLOW_TRACKING_URI": self.mlflow, "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
        command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        # in no command line, which anybody may read
        secret = {"MLFLOW_BACKEND_STORE_URI": f"{database}/mlflow"} | dict(self.store.environment)
        command += ["--serve-artifacts", "--artifacts-destination", self.store.artefacts]
        process = self._program("mlflow", command, secret)
        return lambda: self._started.until(lambda: answers(f"{self.mlflow}/health"), "mlflow", process)

    def _prefect(self, database: str) -> Callable[[], None]:
        """Prefect's server on PostgreSQL, with a user and a password."""
        port = free_port()
        who = f"admin:{self.password}"
        address = f"{database.replace('postgresql:', 'postgresql+asyncpg:')}/prefect"
        secret = {
            "PREFECT_API_DATABASE_CONNECTION_URL": address,
            "PREFECT_API_DATABASE_CONNECTION_TIMEOUT": "60",  # seconds; 5 are few on a machine that does other work
            "PREFECT_API_DATABASE_TIMEOUT": "60",
            "PREFECT_SERVER_API_AUTH_STRING": who,
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
        }
        command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        process = self._program("prefect", command, secret)
        url = f"http://127.0.0.1:{port}/api"
        self.environment |= {"PREFECT_API_URL": url, "PREFECT_API_AUTH_STRING": who}
        return lambda: self._started.until(lambda: answers(f"{url}/admin/version", who), "prefect", process)

    def _program(self, name: str, command: list[str], secret: dict[str, str]) -> "subprocess.Popen[bytes]":
        words = [sys.executable, "-m", *command]
        return self._started.start(name, words, self.environment | secret, where=self.folder)


def _postgresql() -> Path | None:
    """The folder of PostgreSQL's programs: Debian has several versions beside each other, and none of them in PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1] if found else None

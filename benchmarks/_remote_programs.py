"""The programs of a team's set-up (docs/cluster.md), really started on this machine for as long as a `with` lasts.

PostgreSQL from the system's packages, MLflow's server and Prefect's on it, an SSH server that keeps DVC's remote, and a
Prefect worker: all on free ports of this machine, with passwords of their own, and gone at the end, however it ends.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.support.processes import PR_SET_PDEATHSIG
from pipelines.support.server import QUIET
from srfoundry.core.errors import FoundryError

PATIENCE = 300.0  # seconds that a server may take to answer: machines do other work, too
LONGEST = 3600.0  # seconds that a command may take
SSHD = "/usr/sbin/sshd"
POOL = "srfoundry"


def missing() -> str:
    """What must be installed before these programs can start; empty where nothing lacks."""
    lacks = [] if _postgresql() else ["postgresql"]
    lacks += [] if Path(SSHD).exists() else ["openssh-server"]
    return f"apt-get install {' '.join(lacks)}" if lacks else ""


@dataclass
class Programs:
    """The running set-up.

    Args:
        environment: what every program sees; the addresses and passwords of the servers are added as they start.
        keep: extras of the servers alone, that no stage sees.
    """

    environment: dict[str, str]
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="srfoundry-remote-")))
    mlflow: str = ""
    remote: str = ""
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    _ending: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> "Programs":
        """Start PostgreSQL, SSH, MLflow and Prefect."""
        self._ending.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o755)  # PostgreSQL refuses root and runs as another user
        self.environment = dict(self.environment) | QUIET
        try:
            database, store = self._postgresql(), self._sshd
            servers = [self._mlflow(database), self._prefect(database)]
            self.remote = store()
            for wait in servers:
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
        self._start("worker", [sys.executable, "-m", *command], more, where=project)

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
        port = _free_port()
        options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
        options |= {"max_connections": 60, "shared_buffers": "32MB"}
        command = [str(programs / "postgres"), "-D", str(data), *(f"--{key}={value}" for key, value in options.items())]
        process = self._start("postgresql", command, {}, where=Path("/"), **as_user)
        address = f"postgresql://srfoundry:{self.password}@127.0.0.1:{port}"
        _until(lambda: _connects(port), "PostgreSQL", process, self.folder / "postgresql.log")
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
        port = _free_port()
        self.mlflow = f"http://127.0.0.1:{port}"
        self.environment |= {"MLFLOW_TRACKING_URI": self.mlflow, "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
        command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        secret = {"MLFLOW_BACKEND_STORE_URI": f"{database}/mlflow"}  # in no command line, which anybody may read
        command += ["--serve-artifacts", "--artifacts-destination", str(self.folder / "artefacts")]
        process = self._start("mlflow", [sys.executable, "-m", *command], secret, where=self.folder)
        return lambda: _until(lambda: _answers(f"{self.mlflow}/health"), "MLflow", process, self.folder / "mlflow.log")

    def _prefect(self, database: str) -> Callable[[], None]:
        """Prefect's server on PostgreSQL, with a user and a password."""
        port = _free_port()
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
        process = self._start("prefect", [sys.executable, "-m", *command], secret, where=self.folder)
        url = f"http://127.0.0.1:{port}/api"
        self.environment |= {"PREFECT_API_URL": url, "PREFECT_API_AUTH_STRING": who}
        return lambda: _until(lambda: _answers(f"{url}/admin/version", who), "Prefect", process, self._log("prefect"))

    def _sshd(self) -> str:
        """An SSH server with a key of its own; returns the address of a folder behind it, for `dvc remote add`."""
        for name in ("host", "client"):
            key = self.folder / f"{name}_key"
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        shutil.copy(self.folder / "client_key.pub", self.folder / "authorized")
        (store := self.folder / "remote").mkdir()
        port = _free_port()
        lines = {
            "ListenAddress": f"127.0.0.1:{port}",
            "HostKey": self.folder / "host_key",
            "AuthorizedKeysFile": self.folder / "authorized",
            "PidFile": "none",
            "StrictModes": "no",  # the keys lie in a folder of /tmp
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "Subsystem": "sftp internal-sftp",
        }
        (config := self.folder / "sshd_config").write_text("".join(f"{key} {line}\n" for key, line in lines.items()))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it separates its privileges
        process = self._start("sshd", [SSHD, "-D", "-e", "-f", str(config)], {}, where=self.folder)
        _until(lambda: _connects(port), "sshd", process, self._log("sshd"))
        return f"ssh://{pwd.getpwuid(os.geteuid()).pw_name}@127.0.0.1:{port}{store}"

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _start(
        self, name: str, command: Sequence[str], secret: dict[str, str], *, where: Path, **who: object
    ) -> "subprocess.Popen[bytes]":
        """Start a program in a group of its own, which ends with this process or before."""
        with self._log(name).open("ab") as log:
            process = subprocess.Popen(
                list(command),
                cwd=where,
                env=self.environment | secret,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,
                **who,  # pyright: ignore[reportArgumentType, reportCallIssue]
            )
        self._ending.callback(_end, process)
        return process


def _postgresql() -> Path | None:
    """The folder of PostgreSQL's programs: Debian has several versions beside each other, and none of them in PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1] if found else None


def _die_with_parent() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _connects(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        return True
    return False


def _answers(url: str, who: str = "") -> bool:
    request = urllib.request.Request(url)
    if who:
        request.add_header("Authorization", f"Basic {b64encode(who.encode()).decode()}")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with suppress(urllib.error.URLError, OSError), direct.open(request, timeout=5) as reply:
        return reply.status == 200
    return False


def _until(true: Callable[[], bool], name: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        if process.poll() is not None or time.monotonic() > deadline:
            raise FoundryError(f"{name} did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)


def _end(process: "subprocess.Popen[bytes]") -> None:
    for number, seconds in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            break
    with suppress(ProcessLookupError):  # what it started and did not end itself
        os.killpg(process.pid, signal.SIGKILL)

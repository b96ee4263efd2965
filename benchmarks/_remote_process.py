"""Programs that are started on this machine for as long as somebody needs them: on free ports, with logs, then gone."""

import ctypes
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.support.processes import PR_SET_PDEATHSIG
from srfoundry.core.errors import FoundryError

PATIENCE = 300.0  # seconds that a server may take to answer: machines do other work, too


@dataclass
class Started:
    """Programs, their logs `NAME.log` in a folder, and their end.

    Args:
        folder: of the logs.
        ending: what ends them, when it is closed.
    """

    folder: Path
    ending: ExitStack = field(default_factory=ExitStack)

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], *, where: Path, **who: object
    ) -> "subprocess.Popen[bytes]":
        """Start a program in a group of its own, which ends with this process or before."""
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                list(command),
                cwd=where,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,
                **who,  # pyright: ignore[reportArgumentType, reportCallIssue]
            )
        self.ending.callback(_end, process)
        return process

    def until(self, true: Callable[[], bool], name: str, process: "subprocess.Popen[bytes]") -> None:
        """Wait for a program that answers.

        Raises:
            FoundryError: it ended, or its time is up; the message ends with its log.
        """
        deadline = time.monotonic() + PATIENCE
        while not true():
            if process.poll() is not None or time.monotonic() > deadline:
                raise FoundryError(f"{name} did not start:\n{self.log(name).read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)

    def log(self, name: str) -> Path:
        """Where a program writes what it says."""
        return self.folder / f"{name}.log"


def free_port() -> int:
    """A port of this machine that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def connects(port: int) -> bool:
    """Whether somebody takes connections there."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        return True
    return False


def answers(url: str, who: str = "") -> bool:
    """Whether an address answers 200 to a user and password `who`."""
    request = urllib.request.Request(url)
    if who:
        request.add_header("Authorization", f"Basic {b64encode(who.encode()).decode()}")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with suppress(urllib.error.URLError, OSError), direct.open(request, timeout=5) as reply:
        return reply.status == 200
    return False


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(process: "subprocess.Popen[bytes]") -> None:
    for number, seconds in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            break
    with suppress(ProcessLookupError):  # what it started and did not end itself
        os.killpg(process.pid, signal.SIGKILL)

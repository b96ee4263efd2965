"""A real `srfoundry serve` on this machine's own address, for benchmarks: started, watched, stopped."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import IO

from srfoundry.core.errors import FoundryError

REPO = Path(__file__).resolve().parent.parent
PATIENCE = 120.0  # seconds


@dataclass
class Served:
    """A server that listens.

    Attributes:
        port: of 127.0.0.1.
        process: whose it is.
        errors: what it wrote to standard error.
    """

    port: int
    process: "subprocess.Popen[str]"
    errors: IO[bytes]

    def connection(self, seconds: float = PATIENCE) -> HTTPConnection:
        """A connection that may be used for several requests."""
        return HTTPConnection("127.0.0.1", self.port, timeout=seconds)

    def post(
        self, connection: HTTPConnection, body: bytes, path: str = "/v1/upscale"
    ) -> tuple[int, dict[str, str], bytes]:
        """Have one photograph enlarged: status, headers, body."""
        connection.request("POST", path, body, {"Accept": "image/png"})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def cpu_seconds(self) -> float:
        """What the process has computed."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def megabytes(self, name: str = "VmRSS") -> int:
        """What it holds, or with VmHWM the most that it ever held."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return round(next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024)

    def said(self) -> str:
        """Its standard error so far."""
        return Path(self.errors.name).read_text(errors="replace")


@contextmanager
def served(models: str, *options: str, threads: int, environment: dict[str, str] | None = None) -> Iterator[Served]:
    """Start a server and wait until it listens; it ends with the block.

    Args:
        models: as --models takes it.
        options: further ones.
        threads: of the server.
        environment: more than this process has.
    """
    command = [sys.executable, "-m", "srfoundry.cli.program", "serve", "--port", "0", "--models", models]
    command += ["--threads", str(threads), *options]
    known = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **(environment or {})}
    with tempfile.NamedTemporaryFile(prefix="served-") as errors:
        with subprocess.Popen(
            command, text=True, stdout=subprocess.PIPE, stderr=errors, cwd=REPO, env=known
        ) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                if "http://" not in line:
                    raise FoundryError(f"the server did not start: {Path(errors.name).read_text()[-300:]}")
                yield Served(int(line.split("127.0.0.1:")[1].split("/")[0]), process, errors)
                process.send_signal(signal.SIGTERM)
                process.wait(PATIENCE)
            finally:
                process.kill()

"""Does a request fail when the alias moves? A real MLflow server, a server that follows it, clients that never stop.

Between two members of the family the alias goes back and forth, once onto a model that must be refused.
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks._served import Served, served
from benchmarks._server_load import photographs
from srfoundry.core.errors import FoundryError

MOVES, CLIENTS = 6, 4
PATIENCE = 60.0  # seconds
NAME = "moved"


def moves(exports: Path, threads: int) -> dict[str, Any]:
    """Requests that failed, and the seconds from each move to the first answer by the new version."""
    with tempfile.TemporaryDirectory() as folder, _mlflow(Path(folder)) as url:
        versions = _register(exports, url, Path(folder))
        known = {"MLFLOW_TRACKING_URI": url, "SRFOUNDRY_CACHE": str(Path(folder) / "cache")}
        with served(f"models:/{NAME}@champion", threads=threads, environment=known) as server:
            seen = _Seen()
            bodies = list(photographs(8, side=96).values())
            with ThreadPoolExecutor(CLIENTS) as side_by_side:
                working = [side_by_side.submit(_ask, server, bodies, seen) for _ in range(CLIENTS)]
                seen.wait_for(versions[0])
                seconds = []
                for index in range(MOVES):
                    wanted = versions[(index + 1) % 2]
                    began = time.monotonic()
                    _move(url, wanted)
                    seconds.append(seen.wait_for(wanted) - began)
                standing = versions[MOVES % 2]
                _move(url, versions[2])  # which is broken
                time.sleep(5)
                _move(url, standing)
                seen.stop.set()
                for one in working:
                    one.result()
            log = server.said()
    return {
        "alias_moves": MOVES,
        "alias_move_requests": len(seen.statuses),
        "alias_move_failed": sum(status != 200 for status in seen.statuses),
        "alias_move_seconds": round(max(seconds), 2),
        "alias_move_seconds_median": round(median(seconds), 2),
        "alias_move_broken_refused": versions[2] not in seen.versions and log.count("is not taken") == 1,
    }


class _Seen:
    """What the clients were answered."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.versions: dict[str, float] = {}  # when each was asked for last, of requests that it answered
        self.stop = threading.Event()
        self._changed = threading.Condition()

    def note(self, status: int, version: str) -> None:
        with self._changed:
            self.statuses.append(status)
            self.versions[version] = time.monotonic()
            self._changed.notify_all()

    def wait_for(self, version: str) -> float:
        """When a version first answers from now on."""
        began = time.monotonic()
        with self._changed:
            found = self._changed.wait_for(lambda: self.versions.get(version, 0.0) >= began, PATIENCE)
            if not found:
                raise FoundryError(f"version {version} did not answer within {PATIENCE:g} s after the alias moved")
            return self.versions[version]


def _ask(server: Served, bodies: list[bytes], seen: _Seen) -> None:
    connection, index = server.connection(), 0
    while not seen.stop.is_set():
        status, headers, _ = server.post(connection, bodies[index % len(bodies)])
        seen.note(status, headers.get("x-model-version", ""))
        index += 1
    connection.close()


def _register(exports: Path, url: str, folder: Path) -> list[str]:
    """Two members as versions of one model, and one whose weights are broken; the first is champion."""
    script = f"""
import sys
from pathlib import Path
from srfoundry.deployment.held_out import Figures
from srfoundry.tracking import registry
import onnx
from onnx import numpy_helper
exports = Path({str(exports)!r})
def broken():
    made = onnx.load(exports / "pruned70.onnx")
    for kept in made.graph.initializer:
        values = numpy_helper.to_array(kept)
        if values.dtype == "float32":
            kept.CopyFrom(numpy_helper.from_array(-3 * values, kept.name))
    return made.SerializeToString()
blobs = [(exports / "pruned.onnx").read_bytes(), (exports / "pruned70.onnx").read_bytes(), broken()]
for psnr, blob in zip((30.0, 29.0, 28.0), blobs):
    figures = Figures(psnr, 20.0, "these", None, len(blob))
    found = registry.register(blob, name={NAME!r}, figures=figures, tags={{"scale": "2"}}, score=lambda _: None)
    print("version", found.version)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "MLFLOW_TRACKING_URI": url},
        text=True,
        capture_output=True,
        timeout=300,
        cwd=folder,
    )
    found = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("version ")]
    if len(found) != 3:
        raise FoundryError(f"the models were not registered: {done.stderr[-300:]}")
    return found


def _move(url: str, version: str) -> None:
    from mlflow.tracking import MlflowClient

    MlflowClient(url, url).set_registered_model_alias(NAME, "champion", version)


@contextmanager
def _mlflow(folder: Path) -> Iterator[str]:
    """An MLflow server with a database of its own, as `mlflow server` starts it."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    settings = {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder / 'mlflow.db'}",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
    }
    command = [sys.executable, "-m", "uvicorn", "mlflow.server.fastapi_app:app", "--port", str(port)]
    with (folder / "mlflow.log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env={**os.environ, **settings}
        )
        try:
            _wait(f"http://127.0.0.1:{port}/health", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


def _wait(address: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        try:
            with urlopen(address, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise FoundryError("MLflow's server did not start; install it: make ui")

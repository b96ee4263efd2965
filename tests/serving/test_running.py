"""The server as a process: one line at the start, slow clients are cut off, and a signal lets work finish."""

import io
import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image

from srfoundry.serving import problems
from tests import served
from tests.conftest import wait_until

PROGRAM = """
import sys
from srfoundry.serving import running
running.IDLE = 1.0
from srfoundry.cli import serving
from srfoundry.serving import settings
limits = settings.Limits.__init__.__defaults__
changed = {10.0: 1.0, 256: CONNECTIONS}
settings.Limits.__init__.__defaults__ = tuple(changed.get(each, each) for each in limits)
from srfoundry.cli.program import main
sys.exit(main(sys.argv[1:]))
"""


def photograph(side: int) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (side, side, 3), np.uint8)).save(packed, "PNG")
    return packed.getvalue()


@contextmanager
def server(folder: Path, connections: int = 256) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server of one tiny model, whose patience with slow clients is a second, and its port."""
    (folder / "pruned.onnx").write_bytes(served.model())
    program = PROGRAM.replace("CONNECTIONS", str(connections))
    command = [sys.executable, "-c", program, "serve", "--port", "0", "--models", str(folder), "--threads", "1"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, stdout=pipe, stderr=pipe, cwd=folder) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "http://127.0.0.1:" in line and "/docs" in line, line
            yield process, int(line.split("127.0.0.1:")[1].split("/")[0])
        finally:
            process.kill()


def get(port: int, path: str) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return answer.status


def answer_of(port: int, sent: bytes) -> bytes:
    """Everything that the server says to these bytes, until it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        said = b""
        with suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(sent)
            while block := connection.recv(65536):
                said += block
        return said


def problem(said: bytes, status: int) -> str:
    """The detail of an answer that is a problem of this status."""
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status) and b"\r\nx-content-type-options: nosniff" in head.lower()
    assert f"content-type: {problems.MEDIA}".encode() in head.lower()
    found = json.loads(body)
    assert found["status"] == status and found["title"]
    return found["detail"]


def test_slow_and_broken_clients_are_cut_off_and_a_signal_waits_for_work(tmp_path: Path) -> None:
    with server(tmp_path) as (process, port), ThreadPoolExecutor(8) as side_by_side:
        wait_until(lambda: get(port, "/readyz") == 200, process=process)
        head = b"POST /v1/upscale HTTP/1.1\r\nHost: localhost\r\n"
        slow = {
            "headers": head,
            "nothing": b"",
            "body": head + b"Content-Length: 1000\r\n\r\n\x89PNG",
            "chunks": head + b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n",
        }
        said = dict(zip(slow, side_by_side.map(lambda sent: answer_of(port, sent), slow.values()), strict=True))
        assert said["headers"] == said["nothing"] == b""
        assert b" 408 " in said["body"] and b" 408 " in said["chunks"]
        assert "illegal request line" in problem(answer_of(port, b"GARBAGE\r\n\r\n"), 400)
        assert "Content-Length" in problem(answer_of(port, head + b"Content-Length: abc\r\n\r\n"), 400)
        chunks = b"Transfer-Encoding: chunked\r\n\r\nnone\r\n"
        assert "chunk" in problem(answer_of(port, head + chunks), 400)
        assert b" 200 " not in answer_of(port, b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 4_000_000 + b"\r\n\r\n")

        def upscale(_index: int) -> int:
            address = f"http://127.0.0.1:{port}/v1/upscale?tile=32"
            request = urllib.request.Request(address, photograph(500), {"Content-Type": "image/png"})
            with urllib.request.urlopen(request, timeout=120) as answer:
                return Image.open(io.BytesIO(answer.read())).width

        working = [side_by_side.submit(upscale, index) for index in range(3)]
        wait_until(lambda: "srfoundry_running 3.0" in _metrics(port) or working[0].done(), process=process)
        process.send_signal(signal.SIGTERM)
        with suppress(urllib.error.URLError, ConnectionError):
            wait_until(lambda: _refused(port, "/readyz"), process=process)
        assert [found.result(120) for found in working] == [1000] * 3
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_connection_too_many_is_refused_as_all_else_is(tmp_path: Path) -> None:
    with server(tmp_path, connections=0) as (_process, port):
        said = answer_of(port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert "0 connections" in problem(said, 503) and b"\r\nretry-after: " in said.lower()


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "pruned.onnx").write_bytes(served.model())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "srfoundry.cli.program", "serve", "--port", port, "--models", str(tmp_path)]
        done = subprocess.run(command, text=True, capture_output=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot listen at 127.0.0.1:") and len(done.stderr.splitlines()) == 1


def _metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        return answer.read().decode()


def _refused(port: int, path: str) -> bool:
    try:
        get(port, path)
    except urllib.error.HTTPError as error:
        assert json.loads(error.read())["status"] == error.status == 503
        return True
    return False

"""Servers of several projects on one machine: each project finds its own."""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipelines.support import server


class Plain(server.Service):
    """A server that needs no second to start."""

    def command(self, port: int) -> list[str]:
        """Python's own."""
        return [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]


class Answer(BaseHTTPRequestHandler):
    """Answers as a server does that is well."""

    def do_GET(self) -> None:
        """To whatever is asked."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def test_a_port_that_another_server_was_quicker_to_take_is_not_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that start at once find the same port free; the other's answers, and would end with the other's project."""
    other = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    taken, really = other.server_port, server._free
    looks: list[int] = []

    def free(port: int) -> bool:
        looks.append(port)
        return True if looks == [taken] else really(port)

    monkeypatch.setattr(server, "_free", free)
    service = Plain("plain", taken, "/")
    try:
        url = service.ensure(tmp_path, wait=60.0)
        assert url != f"http://127.0.0.1:{taken}" and service.ensure(tmp_path) == url
    finally:
        assert service.stop(tmp_path)
        other.shutdown()
        other.server_close()

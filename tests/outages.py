"""Servers as they fail: real sockets that refuse, are silent, answer 500, or pass everything on to a living server."""

import socket
import threading
from contextlib import suppress
from typing import Literal
from urllib.parse import urlsplit

Mode = Literal["silent", "broken", "through"]
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\nConnection: close\r\n\r\noops"


class Line:
    """A port of this machine whose behaviour can be changed at any moment; use it in a `with`.

    Args:
        mode: silent = takes connections and never answers | broken = answers 500 | through = passes on to `behind`.
        behind: address of a living server.
    """

    def __init__(self, mode: Mode, behind: str = "") -> None:
        self.mode: Mode = mode
        self._behind = urlsplit(behind)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def cut(self, mode: Mode | None = None) -> None:
        """End all connections in the middle of whatever they do; new ones behave as `mode` says."""
        self.mode = mode or self.mode
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(near)
            if self.mode == "broken":
                with suppress(OSError):
                    near.recv(65536)
                    near.sendall(BROKEN)
                    near.shutdown(socket.SHUT_WR)
            elif self.mode == "through":
                with suppress(OSError):
                    far = socket.create_connection((str(self._behind.hostname), int(self._behind.port or 80)))
                    self._open.append(far)
                    for source, target in ((near, far), (far, near)):
                        threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)

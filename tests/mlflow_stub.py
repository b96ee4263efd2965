"""An MLflow server of few words, on a real socket: it answers by path and keeps what was asked."""

import hashlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = dict[str, Any] | bytes | int
ABSENT: dict[str, Any] = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "not found"}  # MLflow's words, status 404


def version(blob: bytes) -> dict[str, Any]:
    """What MLflow says of the version with this file."""
    md5 = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    tags = [{"key": "model.md5", "value": md5}, {"key": "scale", "value": "2"}]
    return {"name": "toy", "version": "3", "source": "models:/m-1", "tags": tags, "aliases": ["champion"]}


class Stub:
    """Use it in a `with`. An answer that is a number is a status.

    Args:
        blob: the file of the model toy, version 3, whose alias is champion.
    """

    def __init__(self, blob: bytes = b"the model") -> None:
        self.elsewhere = ""  # where status 302 sends
        self.asked: list[tuple[str, dict[str, list[str]], str | None]] = []
        self.answers: dict[str, Answer | Callable[[dict[str, list[str]]], Answer]] = {
            "/api/2.0/mlflow/registered-models/alias": {"model_version": version(blob)},
            "/api/2.0/mlflow/model-versions/get-download-uri": {"artifact_uri": "mlflow-artifacts:/1/models/m-1"},
            "/api/2.0/mlflow-artifacts/artifacts": lambda query: {
                "files": [{"path": "code", "is_dir": True}, {"path": "MLmodel"}, {"path": "model.onnx"}]
                if query["path"] == ["1/models/m-1"]
                else [{"path": "loader.py"}]
            },
            "/api/2.0/mlflow-artifacts/artifacts/1/models/m-1/model.onnx": blob,
        }
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = parse_qs(parts.query)
                stub.asked.append((parts.path, query, self.headers["Authorization"]))
                answer = stub.answers.get(parts.path, 404)
                answer = answer(query) if callable(answer) else answer
                if isinstance(answer, int):
                    status, body = answer, b"<html>"
                else:
                    status, body = 404 if answer is ABSENT else 200, answer
                blob = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", stub.elsewhere)
                self.send_header("Content-Length", str(len(blob)))
                self.end_headers()
                self.wfile.write(blob)

            def log_message(self, format: str, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def __enter__(self) -> "Stub":
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

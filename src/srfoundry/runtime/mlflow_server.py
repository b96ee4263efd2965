"""An MLflow server over its REST interface, read only, by Python's standard library: MLflow takes seconds to import.

Name and password, tokens and certificates come from MLflow's own environment variables and ~/.mlflow/credentials.
"""

import configparser
import json
import math
import os
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlencode, urlsplit
from urllib.request import HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

from srfoundry.core.errors import FoundryError

API = "/api/2.0"
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # what MLflow calls a name or alias that is not there
HERE = ("127.0.0.1", "localhost", "::1")  # no proxy stands before these
PATIENCE = "10"
CREDENTIALS = (401, 403)  # statuses of HTTP: none, wrong ones, or such as may not


class Absent(Exception):
    """What was asked for is not on the server."""


class MlflowServer:
    """A server at an address.

    Args:
        url: http://HOST[:PORT][/PREFIX] or https; NAME:PASSWORD@ may stand before the host.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url.rstrip("/"))
        self.url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._credentials = _credentials(unquote(parts.username or ""), unquote(parts.password or ""))
        self._opener = _opener(parts.scheme, parts.hostname or "")
        self._patience = _patience()

    def ask(self, path: str, /, **query: str) -> dict[str, Any]:
        """The JSON that a path below /api/2.0 answers.

        Raises:
            Absent: nothing of that name, version or alias is there.
            FoundryError: it does not answer, refuses, or answers something else.
        """
        try:
            found = json.loads(self.download(f"{API}/{path}?{urlencode(query)}"))
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise FoundryError(f"{self.url} is no MLflow server: no JSON at {API}; check MLFLOW_TRACKING_URI")
        return found

    def every(self, key: str, path: str, /, **query: str) -> Iterator[dict[str, Any]]:
        """What `ask` answers under `key`, page after page."""
        token = ""
        while True:
            found = self.ask(path, **query, **({"page_token": token} if token else {}))
            yield from found.get(key, [])
            token = str(found.get("next_page_token") or "")
            if not token:
                return

    def files(self, folder: str, model_id: str | None) -> dict[str, str]:
        """The files of a model: their names in its folder and those within, and the paths that `download` takes.

        Args:
            folder: its address as the server gives it: mlflow-artifacts:/..., file:///..., s3://...
            model_id: of the logged model (m-...): by that the server hands out what lies anywhere.

        Raises:
            Absent: the folder is gone.
            FoundryError: the server does not hand it out, or fails.
        """
        if folder.startswith("mlflow-artifacts:"):
            root, served = urlsplit(folder).path.strip("/"), "mlflow-artifacts/artifacts"
            names = _walk(lambda inside: self.ask(served, path=f"{root}/{inside}".rstrip("/")))
            paths = {name: f"{API}/{served}/{quote(f'{root}/{name}')}" for name in names}
        elif model_id is not None:
            directories = f"mlflow/logged-models/{model_id}/artifacts/directories"
            names = _walk(
                lambda inside: self.ask(directories, **({"artifact_directory_path": inside} if inside else {}))
            )
            base = f"/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files"
            paths = {name: f"{base}?{urlencode({'artifact_file_path': name})}" for name in names}
        else:
            raise FoundryError(
                f"MLflow at {self.url} does not hand out {folder}; start it with --serve-artifacts, "
                "or register the model again: srfoundry register"
            )
        return paths

    def download(self, path: str) -> bytes:
        """What a path answers; Absent and FoundryError as in `ask`."""
        request = Request(self.url + path)
        if self._credentials:  # unredirected: another host shall not have them
            request.add_unredirected_header("Authorization", self._credentials)
        try:
            with self._opener.open(request, timeout=self._patience) as reply:
                return reply.read()
        except HTTPError as error:
            with error:
                raise self._refusal(error.code, error.read(100_000)) from None
        except (HTTPException, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise FoundryError(
                f"MLflow at {self.url} does not answer: {str(reason)[:160] or type(error).__name__}; "
                "check MLFLOW_TRACKING_URI"
            ) from None

    def _refusal(self, status: int, body: bytes) -> Exception:
        try:
            found = json.loads(body)
            code, message = str(found["error_code"]), " ".join(str(found["message"]).split())[:160]
        except (ValueError, KeyError, TypeError):
            code, message = "", "not in MLflow's words"
        if code in ABSENT:
            return Absent(message)
        if status in CREDENTIALS:
            return refuses(self.url, status)
        return FoundryError(
            f"MLflow at {self.url} failed, status {status}: {message}; check MLFLOW_TRACKING_URI, read its log"
        )


def refuses(url: str, status: int) -> FoundryError:
    """What to say of a server that wants other credentials."""
    return FoundryError(
        f"MLflow at {url} refuses, status {status}; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
        "MLFLOW_TRACKING_TOKEN"
    )


def _walk(listing: Callable[[str], dict[str, Any]], inside: str = "", depth: int = 3) -> list[str]:
    """The files of a folder and of those within; servers name them by their last part or by their whole path."""
    found: list[str] = []
    for each in listing(inside).get("files", []):
        name = f"{inside}/{str(each['path']).rpartition('/')[2]}".lstrip("/")
        if not each.get("is_dir"):
            found.append(name)
        elif depth:
            found += _walk(listing, name, depth - 1)
    return found


def _credentials(user: str, password: str) -> str | None:
    """The header Authorization, if any; what stands in the address comes first, as in MLflow."""
    kept = configparser.ConfigParser(interpolation=None)
    kept.read(Path("~/.mlflow/credentials").expanduser())
    filed = dict(kept["mlflow"]) if kept.has_section("mlflow") else {}
    user = user or os.environ.get("MLFLOW_TRACKING_USERNAME") or filed.get("mlflow_tracking_username", "")
    password = password or os.environ.get("MLFLOW_TRACKING_PASSWORD") or filed.get("mlflow_tracking_password", "")
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    if user and password:
        return "Basic " + b64encode(f"{user}:{password}".encode()).decode()
    return f"Bearer {token}" if token else None


def _patience() -> float:
    """Seconds without a byte; a person who sets MLflow's own is obeyed."""
    given = os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", PATIENCE)
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < 1e6:
        raise FoundryError(f"MLFLOW_HTTP_REQUEST_TIMEOUT must be seconds above 0, got {given!r}; unset it or write 10")
    return seconds


def _opener(scheme: str, host: str) -> OpenerDirector:
    handlers: list[Any] = [ProxyHandler({})] if host in HERE else []
    if scheme == "https":
        handlers.append(HTTPSHandler(context=_certificates()))
    return build_opener(*handlers)


def _certificates() -> ssl.SSLContext:
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    else:
        context = ssl.create_default_context(cafile=os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH"))
    own = os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH")
    if own:
        context.load_cert_chain(own)
    return context

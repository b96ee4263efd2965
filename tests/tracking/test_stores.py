"""Stores as they are met: silent, unknown, without their driver, or copied with the project that they belong to."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from srfoundry.core.errors import FoundryError
from srfoundry.deployment.held_out import Figures
from srfoundry.tracking import registry, stores
from srfoundry.tracking.runs import Tracker
from tests import mlflow_stub
from tests.conftest import mlflow_at
from tests.tracking.test_registry import NAME, _model

DRIVER = "does not answer" if find_spec("psycopg2") else "pip install 'srfoundry[postgresql]'"


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def _models(folder: Path, uri: str) -> tuple[str, float]:
    """What `srfoundry models` says with a tracking address, and how long it takes."""
    began = time.monotonic()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    done = subprocess.run(
        [sys.executable, "-m", "srfoundry.cli.program", "models"],
        cwd=folder,
        env=environment | {"MLFLOW_TRACKING_URI": uri},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1 and not done.stdout
    return done.stderr, time.monotonic() - began


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("http://127.0.0.1:9", "http://127.0.0.1:9 does not answer"),
        ("foo://bar", "foo://bar does not answer"),
        ("file:///nowhere", "MLflow at file:///nowhere"),
        ("postgresql://me:secret@127.0.0.1:9/x", DRIVER),
    ],
)
def test_unusable_address_is_one_line(tmp_path: Path, uri: str, words: str) -> None:
    """Whatever command reads the registry; and no password in it."""
    said, _ = _models(tmp_path, uri)
    assert words in said and said.startswith("error: ") and len(said.splitlines()) == 1
    assert "secret" not in said


@pytest.mark.parametrize("error", [ModuleNotFoundError("No module named 'boto3'", name="boto3"), OSError("refused")])
def test_what_a_store_needs_is_named(error: Exception) -> None:
    """Artefacts in s3:// need a package that only who has such a store installs."""
    words = "pip install 'srfoundry\\[s3\\]'" if isinstance(error, ImportError) else "does not answer: refused"
    with pytest.raises(FoundryError, match=words), stores.reached("http://me:secret@x/y") as _:
        raise error


@pytest.mark.parametrize("status", [401, 403])
def test_wrong_credentials_are_named(tmp_path: Path, status: int) -> None:
    """Where MLflow itself asks, as where it is not installed (test_pulling.py)."""
    with mlflow_stub.Stub() as stub:
        stub.answers["/api/2.0/mlflow/experiments/get-by-name"] = status
        with pytest.raises(FoundryError, match=f"refuses, status {status}; set MLFLOW_TRACKING_USERNAME"):
            Tracker(stub.url, "srfoundry", tmp_path)


def test_silent_server_is_given_up_in_seconds(tmp_path: Path, silent: str) -> None:
    """Not after four minutes of retries."""
    said, seconds = _models(tmp_path, silent)
    assert "does not answer" in said and len(said.splitlines()) == 1
    assert seconds < 60.0  # five, and the start of a process on a busy machine


def test_the_users_own_patience_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only what nobody has set is set."""
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    monkeypatch.setenv("no_proxy", "intranet")
    monkeypatch.setenv("NO_PROXY", "intranet")
    for name in set(stores.PATIENCE) - set(os.environ):
        monkeypatch.setenv(name, stores.PATIENCE[name])
    stores.prepare(tmp_path)
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "3"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "5"
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert os.environ["no_proxy"].split(",")[0] == "intranet"
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert urllib.request.proxy_bypass("127.0.0.1")


def test_copied_project_uses_its_own_store(tmp_path: Path, empty_store: Path) -> None:
    """Its database points to its own artefacts, old runs and models with them; the original stays as it was."""
    first, second = tmp_path / "first project", tmp_path / "second"
    first.mkdir()
    shutil.copy(empty_store, first / "mlflow.db")
    with mlflow_at(stores.own(first)):
        run = _project(first)
        registry.register(
            _model(1.0),
            name=NAME,
            figures=Figures(30.0, 20.0, "these", None, 1),
            tags={},
            score=lambda _: None,
            within=registry.Within(run),
        )
        shutil.copytree(first, second)
        stores.settle(stores.own(second), second)
        shutil.rmtree(first / "mlartifacts")
        mlflow.set_tracking_uri(stores.own(second))
        assert registry.fetch(f"models:/{NAME}@champion") == _model(1.0)
        client = MlflowClient()
        assert str(client.get_run(run).info.artifact_uri).startswith((second / "mlartifacts").as_uri())
        assert [item.path for item in client.list_artifacts(run, "pictures")] == ["pictures/picture.png"]
        _project(second)
        assert not (first / "mlartifacts").exists(), "the copy wrote into the original's folder"


def test_a_store_that_is_not_the_projects_own_stays(tmp_path: Path, empty_store: Path) -> None:
    """A database that several projects share is nobody's to change."""
    shared = tmp_path / "shared.db"
    shutil.copy(empty_store, shared)
    Tracker(f"sqlite:///{shared}", "x", tmp_path / "elsewhere" / "mlartifacts")
    before = shared.read_bytes()
    stores.settle(f"sqlite:///{shared}", tmp_path)
    assert shared.read_bytes() == before


def test_a_copy_that_is_read_only_is_one_line(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is wrong with it, and nothing to be removed."""
    first, second = tmp_path / "first project", tmp_path / "second"
    first.mkdir()
    shutil.copy(empty_store, first / "mlflow.db")
    with mlflow_at(stores.own(first)):
        _project(first)
    shutil.copytree(first, second)
    connect = sqlite3.connect  # root may write whatever its mode says
    monkeypatch.setattr(sqlite3, "connect", lambda path, **_: connect(f"{path.as_uri()}?mode=ro", uri=True))
    stores.settle(stores.own(first), first)
    with pytest.raises(FoundryError, match=f"is read-only here; mount the project at {first},"):
        stores.settle(stores.own(second), second)


def test_damaged_store_is_one_line(tmp_path: Path) -> None:
    """Which file, and what to do."""
    (tmp_path / "mlflow.db").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(FoundryError, match=r"mlflow\.db cannot be used.*restore or remove it"):
        stores.settle(stores.own(tmp_path), tmp_path)


def _project(root: Path) -> str:
    """One run with a picture in a project's own store."""
    tracker = Tracker(stores.own(root), "srfoundry", root / "mlartifacts")
    run = tracker.client.create_run(tracker.experiment).info.run_id
    picture = root / "picture.png"
    picture.write_bytes(b"a picture")
    tracker.client.log_artifact(run, str(picture), "pictures")
    return run

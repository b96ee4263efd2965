"""Models by alias: from a real MLflow server and from one that misbehaves, without MLflow on this side."""

import base64
import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import pytest

from srfoundry.core.errors import FoundryError
from srfoundry.runtime import pulling
from tests import tiny
from tests.conftest import mlflow_at, wait_until
from tests.mlflow_stub import ABSENT, Answer, Stub, version
from tests.outages import Line

ADDRESS = "models:/toy@champion"
MD5 = hashlib.md5(b"the model", usedforsecurity=False).hexdigest()


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    """A stub that MLFLOW_TRACKING_URI names; nothing else of the user's is read."""
    monkeypatch.setenv("SRFOUNDRY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    with Stub() as made:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", made.url)
        yield made


def test_the_second_start_downloads_nothing(stub: Stub) -> None:
    """But asks where the alias is; a kept file that was damaged is fetched again."""
    assert pulling.pull(ADDRESS) == b"the model"
    stub.asked.clear()
    assert pulling.pull(ADDRESS) == b"the model"
    assert [path for path, *_ in stub.asked] == ["/api/2.0/mlflow/registered-models/alias"]
    assert stub.asked[0][1] == {"name": ["toy"], "alias": ["champion"]}
    (pulling.cache() / f"{MD5}.onnx").write_bytes(b"damaged")
    assert pulling.pull(ADDRESS) == b"the model"


def test_a_cache_that_cannot_be_written_is_no_error(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, no folder")
    assert pulling.pull(ADDRESS) == b"the model"


def test_a_server_that_keeps_its_files_elsewhere_hands_them_out(stub: Stub) -> None:
    """Without --serve-artifacts the folder is one of the server's, or a bucket."""
    stub.answers["/api/2.0/mlflow/model-versions/get-download-uri"] = {"artifact_uri": "s3://bucket/1/models/m-1"}
    stub.answers["/api/2.0/mlflow/logged-models/m-1/artifacts/directories"] = {"files": [{"path": "model.onnx"}]}
    stub.answers["/ajax-api/2.0/mlflow/logged-models/m-1/artifacts/files"] = b"the model"
    assert pulling.pull(ADDRESS) == b"the model"
    assert stub.asked[-1][1] == {"artifact_file_path": ["model.onnx"]}
    old: Any = {"model_version": {**version(b"the model"), "source": "s3://bucket/0/run"}}
    stub.answers["/api/2.0/mlflow/registered-models/alias"] = old
    (pulling.cache() / f"{MD5}.onnx").unlink()
    with pytest.raises(FoundryError, match="does not hand out s3://bucket"):
        pulling.pull(ADDRESS)


@pytest.mark.parametrize("changed", [b"another model", 404], ids=["changed", "gone"])
def test_a_file_that_is_not_what_was_registered_is_refused(stub: Stub, changed: Answer) -> None:
    stub.answers["/api/2.0/mlflow-artifacts/artifacts/1/models/m-1/model.onnx"] = changed
    with pytest.raises(FoundryError, match=r"toy/3: version 3 is registered but its file is gone|status 404"):
        pulling.pull(ADDRESS)


def test_who_asks_is_said_in_mlflows_own_ways(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Address, environment, file, token; never to another host than the server's."""

    def said() -> str | None:
        pulling.find(ADDRESS)
        return stub.asked[-1][2]

    def basic(pair: str) -> str:
        return "Basic " + base64.b64encode(pair.encode()).decode()

    assert said() is None
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abc")
    assert said() == "Bearer abc"
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username=f\nmlflow_tracking_password=%g"
    )
    assert said() == basic("f:%g")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "u")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "p")
    assert said() == basic("u:p")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", stub.url.replace("//", "//me:a%40b@"))
    assert said() == basic("me:a@b")
    with Stub() as other:
        stub.answers["/api/2.0/mlflow/registered-models/alias"], stub.elsewhere = 302, f"{other.url}/there"
        other.answers["/there"] = {"model_version": version(b"the model")}
        pulling.find(ADDRESS)
        assert [header for *_, header in other.asked] == [None]


def test_pages_of_a_long_list_are_all_read(stub: Stub) -> None:
    models = {
        "": {"registered_models": [{"name": "a"}], "next_page_token": "2"},
        "2": {
            "registered_models": [
                {"name": "b", "aliases": [{"alias": "p50", "version": "10"}, {"alias": "best", "version": "10"}]}
            ]
        },
    }
    stub.answers["/api/2.0/mlflow/registered-models/search"] = lambda query: models[query.get("page_token", [""])[0]]
    tags = [{"key": "metric", "value": "psnr_y"}, {"key": "value", "value": "31"}, {"key": "scale", "value": "2"}]
    versions: Any = {"a": {}, "b": {"model_versions": [{"version": "9"}, {"version": "10", "tags": tags}]}}
    stub.answers["/api/2.0/mlflow/model-versions/search"] = lambda query: versions[query["filter"][0][8]]
    found = pulling.versions()
    assert [(row["model"], row["version"], row["aliases"]) for row in found] == [
        ("b", "10", "best,p50"),
        ("b", "9", ""),
    ]
    assert found[0]["figure"] == "psnr_y = 31" and found[0]["scale"] == "2"


def test_the_aliases_of_one_model_are_asked_for_alone(stub: Stub) -> None:
    """Whatever its name is, and however many others there are."""
    place = "/api/2.0/mlflow/registered-models/get"
    held = [{"alias": "p70", "version": "3"}, {"alias": "champion", "version": "9"}]
    stub.answers[place] = {"registered_model": {"name": "x", "aliases": held}}
    assert pulling.aliases('"it\'s"') == ["champion", "p70"]
    assert [(path, query) for path, query, _ in stub.asked] == [(place, {"name": ['"it\'s"']})]
    stub.answers[place] = {"registered_model": {"name": "x"}}
    assert pulling.aliases("x") == []
    for answer, why in ((ABSENT, "models:/x: no such registered model"), ({}, "without 'registered_model'")):
        stub.answers[place] = answer
        with pytest.raises(FoundryError, match=why):
            pulling.aliases("x")


def test_quotes_in_a_name_stop_no_list(stub: Stub) -> None:
    """MLflow's filters know no escapes; a name with both kinds of quotes has a line that says so."""
    names = ["it's", 'a "b"', '"it\'s"', "plain"]
    stub.answers["/api/2.0/mlflow/registered-models/search"] = {"registered_models": [{"name": name} for name in names]}
    stub.answers["/api/2.0/mlflow/model-versions/search"] = {"model_versions": [{"version": "1"}]}
    rows = pulling.versions()
    assert [(row["model"], row["version"]) for row in rows] == [*zip(names, ["1", "1", "", "1"], strict=True)]
    assert "not listed" in rows[2]["figure"]
    asked = [query["filter"][0] for path, query, _ in stub.asked if "filter" in query]
    assert asked == ['name = "it\'s"', "name = 'a \"b\"'", "name = 'plain'"]
    stub.answers["/api/2.0/mlflow/model-versions/search"] = ABSENT
    with pytest.raises(FoundryError, match="does not list its models: not found"):
        pulling.versions()


@pytest.mark.parametrize("seconds", ["abc", "0", "-1", "nan", "inf"])
def test_a_patience_that_is_none_is_one_line(stub: Stub, monkeypatch: pytest.MonkeyPatch, seconds: str) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", seconds)
    with pytest.raises(FoundryError, match=f"MLFLOW_HTTP_REQUEST_TIMEOUT must be seconds above 0, got '{seconds}'"):
        pulling.find(ADDRESS)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"<html>a page</html>", "no MLflow server"),
        ({"other": 1}, "answers without 'model_version'"),
        (401, "MLFLOW_TRACKING_USERNAME"),
        (500, "failed, status 500"),
    ],
)
def test_a_server_that_is_none_or_refuses_is_one_line(stub: Stub, answer: Answer, said: str) -> None:
    stub.answers["/api/2.0/mlflow/registered-models/alias"] = answer
    with pytest.raises(FoundryError, match=said) as error:
        pulling.find(ADDRESS)
    assert "\n" not in str(error.value)


def test_a_server_that_is_silent_or_away_is_one_line(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the patience that MLflow's own variable sets, and without the password."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "0.2")
    with Line("silent") as line:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", line.url.replace("//", "//me:secret@"))
        with pytest.raises(FoundryError, match=r"does not answer.*check MLFLOW_TRACKING_URI") as error:
            pulling.find(ADDRESS)
        assert "secret" not in str(error.value)
    with pytest.raises(FoundryError, match="does not answer"):
        pulling.find(ADDRESS)


@pytest.mark.parametrize("address", ["models:/", "models:/toy", "models:/toy@", "models:/@a", "models:/toy/", "toy@a"])
def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(FoundryError, match="models:/NAME@champion"):
        pulling.parse(address)


def test_a_registry_in_a_file_without_mlflow_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)

    def lacking(address: str) -> Any:
        raise ModuleNotFoundError("No module named 'mlflow'", name="mlflow")

    monkeypatch.setattr(pulling, "resolve", lacking)
    with pytest.raises(FoundryError, match=r"names no server.*pip install 'srfoundry\[tracking\]'"):
        pulling.pull(ADDRESS)


@pytest.fixture
def server(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real MLflow server over a fresh database."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    log = (tmp_path / "server.log").open("w")
    process = subprocess.Popen(  # what `mlflow server` starts, in half of its time
        [sys.executable, "-m", "uvicorn", "mlflow.server.fastapi_app:app", "--port", str(port)],
        text=True,
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=tmp_path,
        env={
            **os.environ,
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{tmp_path / 'mlflow.db'}",
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(tmp_path / "artifacts"),
        },
    )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            with build_opener(ProxyHandler({})).open(f"{url}/health", timeout=5) as reply:
                return reply.status == 200
        except OSError:
            return False

    try:
        wait_until(answers, process=process)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=60)
        log.close()


def test_the_champion_of_a_real_server_is_what_mlflow_would_fetch(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Registered by MLflow over HTTP, pulled without it."""
    from srfoundry.deployment.held_out import Figures
    from srfoundry.tracking import registry

    blob = tiny.exported()[0]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # an error at once, not after minutes
    monkeypatch.setenv("SRFOUNDRY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with mlflow_at(server):
        with pytest.raises(FoundryError, match="no model is registered"):
            pulling.versions()
        figures = Figures(31.0, 30.0, "these", None, len(blob))
        registry.register(blob, name="toy", figures=figures, tags={"scale": "2"}, score=lambda _: None)
        assert registry.fetch(ADDRESS) == blob and registry.versions() == pulling.versions()
        assert registry.aliases("toy") == pulling.aliases("toy") == ["champion"]
        assert registry.find(ADDRESS) == pulling.find(ADDRESS)
    found = pulling.find(ADDRESS)
    assert (found.name, found.number, found.aliases) == ("toy", "1", ("champion",))
    assert pulling.fetch(found) == blob == pulling.pull("models:/toy/1")
    for address in ("models:/toy@other", "models:/other@champion", "models:/toy/9"):
        with pytest.raises(FoundryError, match="no such registered model"):
            pulling.find(address)

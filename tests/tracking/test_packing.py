"""MLflow's own doors: a version that takes and gives images, loads without a word, and says what it is and needs."""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas
import pytest
from mlflow import onnx as onnx_models
from mlflow.artifacts import download_artifacts
from mlflow.models import get_model_info
from mlflow.tracking import MlflowClient
from packaging.requirements import Requirement
from PIL import Image

from srfoundry.deployment.held_out import Figures
from srfoundry.runtime.session import Session
from srfoundry.tracking import packing, registry
from tests import tiny
from tests.conftest import wait_until

NAME, URI = "tiny-x2", "models:/tiny-x2@champion"


@pytest.fixture
def version(mlflow_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A registered tiny network; its number."""
    monkeypatch.chdir(tmp_path)
    blob = tiny.exported()[0]
    figures = Figures(30.0, bicubic=20.0, held_out="these", seconds=None, size=len(blob))
    shown = packing.Presentation("Enlarges photographs.", "# A card", {"picture.png": b"not looked at"})
    within = registry.Within(shown=lambda: shown)
    return registry.register(blob, name=NAME, figures=figures, tags={}, score=lambda _: None, within=within).version


def test_a_version_says_what_it_is_takes_and_needs(version: str) -> None:
    """Description, card, picture, signature, input example, pinned requirements; the model's bytes are the file's."""
    assert MlflowClient().get_model_version(NAME, version).description == "Enlarges photographs."
    folder = Path(download_artifacts(URI))
    assert (folder / "README.md").read_text() == "# A card" and (folder / "picture.png").is_file()
    assert [path.read_bytes() for path in folder.rglob("*.onnx")] == [tiny.exported()[0]]
    needed = [Requirement(line) for line in (folder / "requirements.txt").read_text().split()]
    assert {each.name for each in needed} == {"mlflow", *packing.RUNTIME} and all(each.specifier for each in needed)
    assert not list(folder.rglob("*.pkl"))
    info = get_model_info(URI)
    assert info.signature is not None and info.signature.params is not None
    assert [each.name for each in info.signature.params.params] == ["tile", "overlap", "format"]
    assert info.saved_input_example_info is not None
    assert set(info.flavors) == {"onnx", "python_function"}


def test_images_of_any_form_go_in_and_come_out(version: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Through MLflow's own checks: bytes, arrays, tensors, frames, the example; without a red error of CUDA."""
    loaded = mlflow.pyfunc.load_model(URI, model_config={"threads": 1})
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (37, 90, 3), np.uint8)
    expected = loaded.predict(pixels)
    assert expected.shape == (74, 180, 3) and expected.dtype == np.uint8
    assert np.array_equal(_opened(loaded.predict(_encoded(pixels))), expected)
    assert np.array_equal(loaded.predict([pixels, pixels[:5]])[0], expected)
    assert np.array_equal(loaded.predict(pixels.tolist()), expected)
    low = rng.random((2, 3, 13, 17), np.float32)
    session = Session(tiny.exported()[0], threads=1, device="cpu")
    np.testing.assert_allclose(loaded.predict({"low": low})["restored"], session.run(low), atol=1e-6)
    np.testing.assert_allclose(loaded.predict(low), session.run(low), atol=1e-6)
    frame = loaded.predict(pandas.DataFrame({"image": [_encoded(pixels), _encoded(pixels[:9])]}))
    assert [_opened(each).shape for each in frame["image"]] == [(74, 180, 3), (18, 180, 3)]
    assert isinstance(loaded.predict(loaded.input_example)[0], str)
    assert _opened(loaded.predict(_encoded(pixels), params={"format": "jpg", "tile": 32})).shape == (74, 180, 3)
    assert "CUDA" not in "".join(capfd.readouterr())


def test_mlflow_still_gives_the_graph(version: str) -> None:
    """The flavour onnx, for tools that want the graph."""
    assert onnx_models.load_model(URI).SerializeToString() == tiny.exported()[0]


def test_it_loads_where_nothing_else_is_installed(version: str, mlflow_store: str) -> None:
    """In another process without srfoundry, PyTorch or onnx."""
    program = """
import sys
sys.modules.update(dict.fromkeys(["srfoundry", "torch", "onnx"]))
import mlflow, numpy
print(mlflow.pyfunc.load_model(sys.argv[1]).predict(numpy.zeros((5, 7, 3), numpy.uint8)).shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, URI],
        text=True,
        capture_output=True,
        env=_environment(mlflow_store),
        timeout=120,
    )
    assert done.stdout.endswith("(10, 14, 3)\n"), done.stderr


def test_mlflow_models_serve_takes_images(version: str, mlflow_store: str) -> None:
    """The example as it lies beside the model, sent to MLflow's scoring server."""
    folder = Path(download_artifacts(URI))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", URI, "-p", str(port), "--env-manager", "local"]
    server = subprocess.Popen(
        command,
        env=_environment(mlflow_store),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(f"{address}/ping"), process=server)
        body = (folder / "serving_input_example.json").read_bytes()
        request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            answer = json.loads(reply.read())
        assert _opened(base64.b64decode(answer["predictions"][0])).shape == (32, 32, 3)
    finally:
        os.killpg(server.pid, 15)
        server.communicate(timeout=60)


def _environment(store: str) -> dict[str, str]:
    return {**os.environ, "MLFLOW_TRACKING_URI": store, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def _encoded(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _opened(blob: Any) -> np.ndarray:
    with Image.open(io.BytesIO(blob)) as picture:
        return np.asarray(picture)

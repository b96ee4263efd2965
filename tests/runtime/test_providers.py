"""A device is a person's word for ONNX Runtime's execution providers; one that is not here is refused with advice."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from srfoundry.core.errors import FoundryError
from srfoundry.runtime import providers
from srfoundry.runtime.session import Session
from tests import tiny

ALL = list(providers.NAMES.values())


def pretend(monkeypatch: pytest.MonkeyPatch, *, built: list[str], gpus: int) -> None:
    fake = SimpleNamespace(get_available_providers=lambda: built)
    monkeypatch.setattr(providers, "onnxruntime", lambda: fake)
    monkeypatch.setattr(providers, "gpus", lambda: gpus)


def names(found: list[Any]) -> list[str]:
    return [each if isinstance(each, str) else each[0] for each in found]


@pytest.mark.parametrize(
    ("device", "gpus", "expected"),
    [
        ("auto", 0, ["cpu"]),
        ("auto", 1, ["cuda", "cpu"]),
        ("cpu", 1, ["cpu"]),
        ("cuda", 1, ["cuda", "cpu"]),
        ("tensorrt", 1, ["tensorrt", "cuda", "cpu"]),
        ("openvino", 0, ["openvino", "cpu"]),
    ],
)
def test_what_a_device_asks_for(
    device: str, gpus: int, expected: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The processor is always last: it runs the layers that the first does not know."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pretend(monkeypatch, built=ALL, gpus=gpus)
    assert names(providers.chosen(device, 3)) == [providers.NAMES[name] for name in expected]


def test_tensorrt_keeps_its_engines_and_openvino_counts_threads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pretend(monkeypatch, built=ALL, gpus=1)
    options = providers.chosen("tensorrt", 1)[0][1]
    assert (
        Path(options["trt_engine_cache_path"]) == tmp_path / "srfoundry" / "tensorrt" and providers.engines().is_dir()
    )
    options = providers.chosen("openvino", 3)[0][1]
    assert options["num_of_threads"] == "3" and options["precision"] == "FP32"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert providers.engines() == Path.home() / ".cache" / "srfoundry" / "tensorrt"


def test_a_cache_that_cannot_be_made_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "srfoundry").write_bytes(b"a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pretend(monkeypatch, built=ALL, gpus=1)
    with pytest.raises(FoundryError, match="set XDG_CACHE_HOME"):
        providers.chosen("tensorrt", 1)


def test_what_is_not_here_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, built=[providers.NAMES["cpu"]], gpus=0)
    with pytest.raises(FoundryError, match="device tensorrt was asked for, got no GPU"):
        providers.chosen("tensorrt", 1)
    with pytest.raises(FoundryError, match="knows CPUExecutionProvider; install onnxruntime-openvino"):
        providers.chosen("openvino", 1)


def test_a_provider_that_does_not_start_is_no_silent_processor() -> None:
    """ONNX Runtime goes on with the next one; a person who asked for the first wants to know."""
    slow = SimpleNamespace(get_providers=lambda: [providers.NAMES["cpu"]])
    assert providers.started(slow, "auto") == providers.started(slow, "cpu") == "cpu"
    for device in ("cuda", "tensorrt", "openvino"):
        with pytest.raises(FoundryError, match=f"device {device} is wanted but .* could not start"):
            providers.started(slow, device)
    assert Session(tiny.exported()[0], threads=1, device="cpu").device == "cpu"

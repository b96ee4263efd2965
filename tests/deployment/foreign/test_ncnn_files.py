"""pnnx converts, ncnn gives ONNX Runtime's numbers, and the files are as upscayl looks for them."""

import dataclasses
import importlib.util
import os
import subprocess
from pathlib import Path

import pytest

from srfoundry.core.errors import FoundryError
from srfoundry.deployment import export
from srfoundry.deployment.foreign import conversion, ncnn_files
from srfoundry.networks.zoo.architectures import build
from tests import tiny


def _die(*_arguments: object) -> float:
    """As ncnn does where sizes do not fit."""
    os._exit(134)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The tiny network's exported file."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny.exported()[0])
    return path


def test_ncnn_gives_the_same_numbers(model: Path) -> None:
    made = ncnn_files.convert(model)
    assert list(made.files) == ["models/tiny-x2.param", "models/tiny-x2.bin"]
    assert made.difference is not None and made.difference < 1e-4
    lines = made.files["models/tiny-x2.param"].decode().splitlines()
    assert lines[0] == "7767517"  # ncnn's mark of the text format
    assert [line.split()[-1] for line in lines if line.startswith("Input")] == ["data"]
    assert "output" in lines[-1].split()


def test_other_weights_are_noticed(model: Path) -> None:
    param, weights = ncnn_files.convert(model).files.values()
    damaged = bytearray(weights)
    damaged[-2] ^= 0x40  # of the last number, the exponent's highest bit but one
    session = conversion.open_session(model)
    worst = ncnn_files.measure(param, bytes(damaged), session)
    with pytest.raises(FoundryError, match="ncnn must give ONNX Runtime's numbers within 0.001, got a difference of"):
        conversion.demand(worst, ncnn_files.TOLERANCE, "ncnn")


def test_a_folded_network_keeps_its_strips(tmp_path: Path) -> None:
    """Slices between unknown sizes, which pnnx takes for idle where it is given two sizes."""
    arch = {"name": "drn", "scale": 2, "blocks": 1, "width": 16}
    path = tmp_path / "folded.onnx"
    written = export.write(build(arch), dataclasses.replace(tiny.describe(), arch=arch), path, tiny.QUICK)
    assert written.card.folded
    difference = ncnn_files.convert(path).difference
    assert difference is not None and difference < 1e-4


def test_a_crash_of_ncnn_is_an_error(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ncnn_files, "_measure", _die)
    with pytest.raises(FoundryError, match="ncnn must run what pnnx made of .*, and crashes"):
        ncnn_files.convert(model)


def test_numbers_in_16_bits_stay_within_half_a_level(model: Path) -> None:
    """As upscayl keeps them; on processors that cannot, ncnn keeps 32 bits."""
    param, weights = ncnn_files.convert(model).files.values()
    session = conversion.open_session(model)
    assert ncnn_files.measure(param, weights, session, half=True) < 1 / 255


@pytest.mark.parametrize(
    ("name", "scale"), [("tiny-x2", 2), ("tiny-x4", 4), ("4x_tiny", 4), ("tiny", 4), ("max1-x2", 1), ("tiny-x3", 3)]
)
def test_upscayl_reads_the_scale_off_the_name(name: str, scale: int) -> None:
    assert ncnn_files.scale_in(name) == scale


def test_a_name_that_says_another_scale_is_refused(model: Path) -> None:
    other = model.rename(model.with_name("max1.onnx"))
    with pytest.raises(FoundryError, match="take max1-x2 for a model that enlarges x1, it is x2; rename"):
        ncnn_files.convert(other)


def test_a_file_of_lower_precision_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = conversion.open_session(model)
    session.card = dataclasses.replace(session.card, precision="fp16")
    monkeypatch.setattr(ncnn_files, "open_session", lambda _model: session)
    with pytest.raises(FoundryError, match="ncnn takes a model in fp32, got fp16 in .*; take the one"):
        ncnn_files.convert(model)


def test_what_pnnx_cannot_is_said(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 134, "", "terminate called\n  what():  stoi\n")

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(FoundryError, match="pnnx must convert this network, got .what\\(\\):  stoi. for drn"):
        ncnn_files.convert(model)


def test_layers_that_ncnn_has_not_are_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(*_arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        param = Path(str(options["cwd"])) / "model.ncnn.param"
        param.write_text("7767517\n2 2\nInput in0 0 1 in0\nTensor.reshape shape_0 1 1 in0 out0\n")
        param.with_suffix(".bin").write_bytes(b"")
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(subprocess, "run", leave)
    with pytest.raises(FoundryError, match="must have a layer for all that is in tiny, got none for Tensor.reshape"):
        ncnn_files.convert(model)


def test_without_pnnx_the_extra_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ModuleNotFoundError) as caught:
        ncnn_files.convert(model)
    assert caught.value.name == "pnnx"

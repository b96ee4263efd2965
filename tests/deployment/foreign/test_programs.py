"""The command `convert`: files where they are announced, proven, and nothing replaced unasked."""

import dataclasses
import importlib.util
from pathlib import Path

import pytest

from srfoundry.cli import program
from srfoundry.core.errors import FoundryError
from srfoundry.deployment.foreign import conversion
from srfoundry.deployment.foreign.programs import PROGRAMS
from tests import tiny


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The tiny network's exported file."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny.exported()[0])
    return path


@pytest.mark.parametrize("name", ["chainner", "ncnn", "triton"])
def test_files_stand_where_the_record_says(name: str, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = model.parent / "out"
    assert program.main(["convert", str(model), "--for", name, "--out", str(out)]) == 0
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert written == sorted(PROGRAMS[name].files(model, 2))
    said = capsys.readouterr().out
    assert "largest difference" in said and PROGRAMS[name].opens in said
    assert program.main(["convert", str(model), "--for", name, "--out", str(out)]) == 1
    assert "would be replaced" in capsys.readouterr().err
    assert program.main(["convert", str(model), "--for", name, "--out", str(out), "--overwrite"]) == 0


@pytest.mark.parametrize("name", ["chainner", "spandrel"])
def test_a_file_of_another_kind_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = {".onnx": ".safetensors", ".safetensors": ".onnx"}[PROGRAMS[name].takes]
    assert program.main(["convert", str(tmp_path / f"tiny{other}"), "--for", name]) == 1
    assert f"--for {name} takes a {PROGRAMS[name].takes} file, got" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("openvino") is not None, reason="OpenVINO is installed")
def test_without_openvino_it_says_what_to_do(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["convert", str(model), "--for", "openvino", "--out", str(model.parent / "out")]) == 1
    assert "pip install openvino" in capsys.readouterr().err


@pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed: pip install openvino"
)
def test_openvino_gives_the_same_numbers(model: Path) -> None:
    made = PROGRAMS["openvino"].run(model)
    assert made.difference is not None and made.difference < 1e-4


def test_files_of_lower_precision_may_differ_by_half_a_level(model: Path) -> None:
    session = conversion.open_session(model)
    assert conversion.tolerance(session, 1e-5) == 1e-5
    session.card = dataclasses.replace(session.card, precision="fp16")
    assert conversion.tolerance(session, 1e-5) == pytest.approx(0.5 / 255)


def test_a_difference_is_found_and_refused(model: Path) -> None:
    session = conversion.open_session(model)
    assert conversion.difference(session, session.run) == 0
    worst = conversion.difference(session, lambda low: session.run(low) + 0.01)
    assert worst == pytest.approx(0.01, rel=1e-3)
    with pytest.raises(FoundryError, match="within 0.001, got a difference of 0.01"):
        conversion.demand(worst, 1e-3, "another runtime")


def test_nan_and_another_size_are_differences(model: Path) -> None:
    session = conversion.open_session(model)
    for broken in (lambda low: session.run(low) * float("nan"), lambda low: session.run(low)[..., :-1]):
        worst = conversion.difference(session, broken)
        assert worst != worst
        with pytest.raises(FoundryError):
            conversion.demand(worst, 1.0, "another runtime")

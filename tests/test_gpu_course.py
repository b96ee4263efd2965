"""The course of `make gpu`, some of it on the CPU: parts run, what fails is reported and stops no other."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from srfoundry.core.errors import FoundryError

pytestmark = pytest.mark.timeout(600)  # three processes one after another


def test_a_part_that_fails_stops_no_other(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.main(["--device", "cpu", "--only", "synthesize", "prune", "pretrain", "--out", str(tmp_path)])
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert {name: part["ok"] for name, part in report["parts"].items()} == {
        "synthesize": True,
        "prune": False,  # without dual and search
        "pretrain": True,
    }
    assert (
        "models/dual.safetensors" in report["parts"]["prune"]["why"] and report["machine"]["torch"] == torch.__version__
    )
    text = (tmp_path / "gpu.md").read_text()
    assert text in capfd.readouterr().out and "2 of 3 parts" in text and "failed: prune." in text


def test_without_a_gpu_it_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(FoundryError, match="needs a GPU that torch can use, got none; nothing was run"):
        gpu.main([])

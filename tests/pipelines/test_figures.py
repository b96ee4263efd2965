"""Figures belong to what they are handed on with: a model exported by hand does not bear another one's."""

import hashlib
import json
from pathlib import Path

import pytest

from pipelines.support.stage import Stage
from srfoundry.config import params
from srfoundry.core.errors import FoundryError
from tests.conftest import REPO
from tests.shipped import SHIPPED

FIGURES, WEIGHTS = "results/evaluate/metrics.json", "models/prune.safetensors"
VERSIONS = "results/environment/versions.json"


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The stage where dvc.lock knows figures, weights and versions that are there."""
    monkeypatch.delenv("DVC_STAGE", raising=False)
    md5 = hashlib.md5(b"one", usedforsecurity=False).hexdigest()
    for path in (FIGURES, WEIGHTS, VERSIONS):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("one")
    deps = [{"path": path, "md5": md5} for path in (VERSIONS, WEIGHTS)]
    lock = {"schema": "2.0", "stages": {"evaluate": {"deps": deps, "outs": [{"path": FIGURES, "md5": md5}]}}}
    (tmp_path / "dvc.lock").write_text(json.dumps(lock))
    (tmp_path / "dvc.yaml").write_text((REPO / "dvc.yaml").read_text())
    return Stage("export", tmp_path, params.load(SHIPPED))


def test_figures_of_other_weights_are_refused(export: Stage) -> None:
    assert export.input(FIGURES).is_file()
    (export.root / WEIGHTS).write_text("two")
    with pytest.raises(FoundryError, match=f"{FIGURES} must be .* another {WEIGHTS}; run: dvc repro evaluate"):
        export.input(FIGURES)
    assert export.input(WEIGHTS).read_text() == "two"


def test_figures_that_were_made_by_hand_are_taken(export: Stage) -> None:
    """dvc.lock does not know of what; nor do other versions of packages make them another network's."""
    (export.root / VERSIONS).write_text("two")
    assert export.input(FIGURES).is_file()
    (export.root / WEIGHTS).write_text("two")
    (export.root / FIGURES).write_text("two")
    assert export.input(FIGURES).is_file()


def test_what_dvc_runs_is_left_to_it(export: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "export")
    (export.root / WEIGHTS).write_text("two")
    assert export.input(FIGURES).is_file()

"""What is installed is an input: an upgrade changes the file that all stages depend on, and every checkpoint's key."""

import json
from importlib import metadata
from pathlib import Path

import pytest

from pipelines.environment import environment
from pipelines.support import versions as installed
from pipelines.support.stage import Stage
from srfoundry.config import params
from tests.conftest import REPO

REAL = metadata.version


def upgraded(name: str) -> str:
    """The versions that are installed, but for a newer torch."""
    return "99.0" if name == "torch" else REAL(name)


def test_an_upgrade_changes_the_file_and_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else does: the same versions give the same bytes."""
    file = tmp_path / "results" / "environment" / "versions.json"
    environment(tmp_path)
    before, key = file.read_bytes(), Stage("pretrain", tmp_path, params.load(REPO / "params.yaml")).key
    environment(tmp_path)
    assert file.read_bytes() == before
    found = json.loads(before)
    assert found["torch"] == metadata.version("torch") and "python" in found and "prefect" not in found
    with monkeypatch.context() as patched:
        patched.setattr(installed.metadata, "version", upgraded)
        environment(tmp_path)
        assert json.loads(file.read_text()) == found | {"torch": "99.0"}
        assert Stage("pretrain", tmp_path, params.load(REPO / "params.yaml")).key != key


def test_an_extra_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage that needs it says so itself."""

    def without(name: str) -> str:
        if name == "diffusers":
            raise metadata.PackageNotFoundError(name)
        return upgraded(name)

    monkeypatch.setattr(installed.metadata, "version", without)
    assert "diffusers" not in installed.versions()

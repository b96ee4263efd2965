"""What is installed is an input: an upgrade changes the file that all stages depend on, and every checkpoint's key."""

import json
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from pipelines.environment import environment
from pipelines.support import versions as installed
from pipelines.support.graph import Graph
from pipelines.support.stage import Stage
from srfoundry.config import params
from tests.conftest import REPO, Toy
from tests.shipped import SHIPPED

PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]

REAL = metadata.version


def upgraded(name: str) -> str:
    """The versions that are installed, but for a newer torch."""
    return "99.0" if name == "torch" else REAL(name)


def test_an_upgrade_changes_the_file_and_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else does: the same versions give the same bytes."""
    file = tmp_path / "results" / "environment" / "versions.json"
    environment(tmp_path)
    before, key = file.read_bytes(), Stage("pretrain", tmp_path, params.load(SHIPPED)).key
    environment(tmp_path)
    assert file.read_bytes() == before
    found = json.loads(before)
    assert found["torch"] == metadata.version("torch") and "python" in found and "prefect" not in found
    with monkeypatch.context() as patched:
        patched.setattr(installed.metadata, "version", upgraded)
        environment(tmp_path)
        assert json.loads(file.read_text()) == found | {"torch": "99.0"}
        assert Stage("pretrain", tmp_path, params.load(SHIPPED)).key != key


def test_an_extra_is_no_version_of_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make test` installs more than `make repro`: no stage is stale for it, but those beside the graph that use it."""

    def without(name: str) -> str:
        if name == "diffusers":
            raise metadata.PackageNotFoundError(name)
        return REAL(name)

    environment(tmp_path)
    folder = tmp_path / "results" / "environment"
    graph, beside = ((folder / f"{name}.json").read_bytes() for name in ("versions", "beside"))
    assert "diffusers" in json.loads(beside)
    monkeypatch.setattr(installed.metadata, "version", without)
    environment(tmp_path)
    assert (folder / "versions.json").read_bytes() == graph
    assert "diffusers" not in json.loads((folder / "beside.json").read_bytes())
    inputs = {name: Graph(REPO, aside="diffuse").inputs(name) for name in ("dual", "diffuse")}
    assert [name for name, paths in inputs.items() if "results/environment/beside.json" in paths] == ["diffuse"]


def test_what_is_missing_says_how_to_get_it(toy: Toy) -> None:
    """One line; a module that no extra has keeps its traceback."""
    toy.stage("pretrain", "import sys\nsys.modules['diffusers'] = None\nimport diffusers.models")
    toy.stage("metatrain", "import no_such_module")
    code, said = toy.run("pretrain")
    assert code == 1 and "Traceback" not in said
    assert said.strip().splitlines()[-1].startswith("error: this needs diffusers"), said
    assert said.strip().endswith("which is not installed; run: make setup EXTRAS=diffusion")
    code, said = toy.run("metatrain")
    assert code == 1 and "Traceback" in said
    assert set(installed.EXTRAS.values()) <= set(PROJECT["optional-dependencies"])

"""Values that cannot go with the photographs, networks or machine stop before any stage, by their keys."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML

from pipelines.support import possible
from srfoundry.config import params
from srfoundry.config.params import Params
from srfoundry.core.errors import FoundryError
from srfoundry.networks.sr.edsr import EDSR
from tests.conftest import REPO
from tests.shipped import SHIPPED

Changes = Mapping[str, Mapping[str, Any]]


def values(changes: Changes) -> Params:
    """The repository's, some of them changed."""
    whole = YAML(typ="safe").load(SHIPPED.read_text())
    for section, some in changes.items():
        whole[section] |= some
    return params.check(whole, "params.yaml")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project that never ran."""
    shutil.copy(REPO / "dvc.yaml", tmp_path)
    shutil.copy(SHIPPED, tmp_path)
    return tmp_path


def record(root: Path, stage: str, **sections: Mapping[str, Any]) -> None:
    """Let dvc.lock say that a stage ran with these values."""
    with (root / "dvc.lock").open("w") as file:
        YAML().dump({"stages": {stage: {"params": {"params.yaml": sections}}}}, file)


def photographs(root: Path, **sizes: tuple[int, int]) -> Changes:
    """Values that take photographs of these widths and heights from a folder, the first two held out."""
    for name, size in sizes.items():
        Image.effect_noise(size, 90).save(root / f"{name}.png")
    first, second, *_ = sizes
    return {"synthesize": {"source": "folder", "folder": ".", "held_out": [first], "validation": [second]}}


def test_the_repositorys_own_values_are_possible(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    possible.check(root, values({}))
    possible.check(root, values({"synthesize": {"held_out": 0.2, "validation": 0.2}}))
    possible.check(root, values({"search": {"measure": "latency", "remove": 0.99}}))  # which no one knows yet
    possible.check(root, values({"compress": {"method": "msgc", "multiple": 64}}))  # whose budget is no ladder's
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"search": {"multiple": 1000}}, r"search.remove must be 0.\d+ or less of the parameters .*multiple 1000"),
        ({"search": {"remove": 0.99}}, "search.remove must be .* drn of width 16, got 0.99"),
        ({"search": {"remove": 0.99, "measure": "macs"}}, "search.remove must be .* of the macs"),
        ({"compress": {"multiple": 64}}, "compress@50 of dvc.yaml must be .*compress.multiple 64"),
        ({"photo": {"network": "edsr", "blocks": 1, "width": 8}}, "photo_compress@50 .* edsr of width 8"),
        ({"synthesize": {"held_out": ["coffe"]}}, "synthesize.held_out names 'coffe', which is not among"),
        ({"synthesize": {"smallest": 100_000}}, "synthesize.smallest must be 1411 or less .*got 100000"),
        ({"synthesize": {"smallest": 192}}, r"photograph page \(384x191\) is smaller than synthesize.smallest 192"),
        ({"pretrain": {"patch": 250}}, r"190 pixels for page \(384x191\), got pretrain.patch 250; lower"),
        ({"nonblind": {"sample_patch": 192}}, "nonblind.sample_patch 192"),
        ({"dual": {"patch": 96}}, "dual.patch 96 times 2 where octave shows photographs smaller: 192"),
        ({"metatrain": {"steps": 1, "patch": 200}}, "metatrain.patch 200"),
    ],
)
def test_what_is_impossible_is_said_by_its_key(root: Path, changes: Changes, said: str) -> None:
    with pytest.raises(FoundryError, match=said):
        possible.check(root, values(changes))


@pytest.mark.parametrize(("name", "measure"), [("dual", "parameters"), ("dual", "latency"), ("photo", "parameters")])
def test_a_network_without_widths_is_none_for_the_graph(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str, measure: str
) -> None:
    """No smaller budget would help it."""
    monkeypatch.setattr(EDSR, "units", lambda self: [])
    changes: Changes = {name: {"network": "edsr"}, "search": {"measure": measure}}
    with pytest.raises(FoundryError, match=rf"{name}.network must name .* got edsr, .* python -m pipelines.{name}$"):
        possible.check(root, values(changes))


def test_photographs_of_ones_own_are_looked_at_by_their_headers(root: Path) -> None:
    """Once, while they do not move; one that cannot be read is for synthesize to name."""
    changes = photographs(root, a=(200, 200), b=(200, 200), c=(300, 200), d=(97, 200))
    (root / "broken.png").write_text("no image")
    (root / "IMG_1.HEIC").write_text("of a kind that is not read")
    possible.check(root, values(changes))
    with pytest.raises(FoundryError, match=r"96 pixels for d \(97x200\), got pretrain.patch 98"):
        possible.check(root, values({**changes, "pretrain": {"patch": 98}}))
    with pytest.raises(FoundryError, match=r"photograph d \(97x200\) is smaller than synthesize.smallest 100"):
        possible.check(root, values({"synthesize": {**changes["synthesize"], "smallest": 100}}))
    skips = {**changes["synthesize"], "smallest": 100, "on_bad_image": "skip"}
    possible.check(root, values({"synthesize": skips, "pretrain": {"patch": 98}}))
    held = {**changes["synthesize"], "held_out": ["a", "d"]}
    possible.check(root, values({"synthesize": held, "pretrain": {"patch": 98}}))
    known = json.loads((root / possible.SIZES).read_text())
    smaller = {name: [*mark[:2], 64, 64] for name, mark in known.items()}
    (root / possible.SIZES).write_text(json.dumps(smaller))
    with pytest.raises(FoundryError, match="synthesize.smallest must be 64 or less"):
        possible.check(root, values(changes))


def test_nothing_left_to_train_on_is_said(root: Path) -> None:
    changes = photographs(root, a=(200, 200), b=(200, 200))
    with pytest.raises(FoundryError, match="no photograph is left to train on, of 2"):
        possible.check(root, values(changes))


def test_a_gpu_that_is_not_there_stops_unless_results_came_from_one(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second machine that only fetched what one with a GPU made has nothing to compute."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    wanted = values({"shared": {"device": "cuda"}})
    with pytest.raises(FoundryError, match="shared.device is cuda, got no GPU"):
        possible.check(root, wanted)
    record(root, "synthesize", shared={"device": "cuda"})
    possible.check(root, wanted)


def test_a_network_of_a_stage_beside_the_graph_is_asked_for(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a line: what makes it begins with the same look."""
    wanted = values({"estimate": {"method": "unfolded"}})
    possible.check(root, wanted)
    said = capsys.readouterr().err
    assert (
        said.startswith("estimate.method unfolded needs models/unfolded.safetensors, got none")
        and said.count("\n") == 1
    )
    (root / "models").mkdir()
    (root / "models" / "unfolded.safetensors").touch()
    possible.check(root, wanted)
    assert capsys.readouterr().err == ""


def test_the_environment_stops_at_it(root: Path) -> None:
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.replace("held_out: [astronaut, ", "held_out: [astronut, "))
    command, paths = [sys.executable, "-m", "pipelines.environment"], {"PYTHONPATH": f"{REPO / 'src'}:{REPO}"}
    done = subprocess.run(command, cwd=root, env=paths, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: synthesize.held_out names 'astronut', which is not among the 18 photographs")

"""Another params file is a trial: in a folder of its own, it takes from the project only what it would make too."""

from pathlib import Path

import pytest

from pipelines.support.place import Place
from pipelines.support.stage import Stage
from srfoundry.config import params
from srfoundry.core.errors import FoundryError
from tests.conftest import REPO, Toy
from tests.shipped import SHIPPED

BODY = """
path = stage.output(f"models/{stage.name}.txt")
path.write_text(f"{stage.params.shared.seed} {stage.params.metatrain.outer.steps}")
stage.curve([{"step": 1.0, "loss": 0.5}])
stage.metrics({"x": 1.0})
"""
AFTER = 'before = stage.input("models/pretrain.txt").read_text()' + BODY


def written(root: Path) -> dict[str, bytes]:
    """All files of the project that a stage writes."""
    folders = (root / name for name in ("models", "results"))
    return {str(path): path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


def test_a_trial_touches_nothing_of_the_project(toy: Toy) -> None:
    """Its models, results and checkpoints lie in runs/NAME, its line says so; the next repro finds nothing changed."""
    toy.stage("pretrain", BODY)
    toy.stage("metatrain", AFTER, deps=["models/pretrain.txt"])
    code, said = toy.run("dvc", "repro")
    assert code == 0, said
    before = written(toy.root)
    (toy.root / "longer.yaml").write_text("metatrain:\n  steps: 77\n")  # the other values are the project's
    code, said = toy.run("metatrain", "--params", "longer.yaml")
    assert code == 0, said
    assert "values of longer.yaml, written to runs/longer/" in said
    assert (toy.root / "runs" / "longer" / "models" / "metatrain.txt").read_text().endswith(" 77")
    assert (toy.root / "runs" / "longer" / "results" / "metatrain" / "metrics.json").exists()
    assert written(toy.root) == before
    code, said = toy.run("dvc", "repro")
    assert code == 0 and "Running stage" not in said
    # another value above: the project's model is no input of this trial, its own is
    (toy.root / "seed.yaml").write_text("shared: {seed: 2}\n")
    code, said = toy.run("metatrain", "--params", "seed.yaml")
    assert code == 1 and "python -m pipelines.pretrain --params seed.yaml" in said.strip().splitlines()[-1], said


def test_a_trial_takes_only_what_its_values_would_make(tmp_path: Path) -> None:
    """The project's file where nothing above differs; an error that names what to run first otherwise."""
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_text((REPO / name).read_text())
    (tmp_path / "wide.yaml").write_text(SHIPPED.read_text())
    values = params.load(tmp_path / "params.yaml")
    for name in ("dual", "dual_nets", "search", "compress_50"):
        path = tmp_path / "models" / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.write_text("project")
    place = Place.of(tmp_path, Path("wide.yaml"))
    stage = Stage("prune", tmp_path, values, place)
    assert stage.input("models/dual.safetensors") == tmp_path / "models/dual.safetensors"
    assert stage.output("models/prune.safetensors") == tmp_path / "runs/wide/models/prune.safetensors"
    own = Stage("dual", tmp_path, values, place).output("models/dual.safetensors")
    own.write_text("own")
    assert stage.input("models/dual.safetensors") == own
    with pytest.raises(FoundryError, match=r"runs/wide has its own dual; .*pipelines\.search --params wide\.yaml"):
        stage.input("models/search.safetensors")
    with pytest.raises(FoundryError, match=r"pipelines\.compress --percent 50 --params wide\.yaml"):
        stage.input("models/compress_50.safetensors")
    changed = values.model_copy(update={"dual": values.dual.model_copy(update={"blocks": 7})})
    own.unlink()
    with pytest.raises(FoundryError, match=r"wide\.yaml has other values for dual"):
        Stage("prune", tmp_path, changed, place).input("models/dual.safetensors")


@pytest.mark.parametrize("name", ["params.yaml", "./params.yaml", "runs/../params.yaml"])
def test_the_project_by_another_path_is_no_trial(tmp_path: Path, name: str) -> None:
    """Only another file is another experiment."""
    (tmp_path / "runs").mkdir()
    assert not Place.of(tmp_path, Path(name)).trial
    assert Place.of(tmp_path, Path("b/other.yaml")).folder == tmp_path / "runs" / "other"


def test_the_key_of_a_trial_follows_its_own_inputs(toy: Toy) -> None:
    """Whatever dvc.lock says of the project's."""
    toy.stage("pretrain", "pass")
    toy.stage("metatrain", "pass", deps=["models/pretrain.txt"])
    (toy.root / "t.yaml").write_text((toy.root / "params.yaml").read_text())
    (toy.root / "models").mkdir()
    (toy.root / "models" / "pretrain.txt").write_text("project")
    place, values = Place.of(toy.root, Path("t.yaml")), params.load(toy.root / "t.yaml")
    assert Stage("metatrain", toy.root, values, place).key == Stage("metatrain", toy.root, values).key
    Stage("pretrain", toy.root, values, place).output("models/pretrain.txt").write_text("own")
    assert Stage("metatrain", toy.root, values, place).key != Stage("metatrain", toy.root, values).key

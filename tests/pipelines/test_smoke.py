"""The whole factory, from photographs to a registered model, through `dvc repro` on tiny values: the same code path.

It runs as if nothing but what `make repro` installs were there: extras of other commands cannot be imported.
The first run is made with the worked examples of CONTRIBUTING.md, the second with what the repository comes with.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from pipelines.support.graph import Graph, folder_of, section_of
from srfoundry.imaging import images
from srfoundry.networks.zoo.family import judged_on
from tests.conftest import REPO
from tests.examples import examples
from tests.extras import distributions, lacking
from tests.inputs import closure, is_imported, is_input, unlisted

STAGES = [
    *["synthesize", "pretrain", "metatrain", "dual", "search", "prune", "compress@50", "compress@70"],
    *["photo", "photo_compress@50", "nonblind", "estimate", "evaluate", "export"],
]
TINY: dict[str, dict[str, Any]] = {
    "shared": {"threads": 1, "precision": "float32"},
    "synthesize": {
        "source": "archives",
        "held_out": ["set__coffee"],
        "validation": ["set__rocket"],
        "smallest": 64,
        "bank": {"gaussian": 2, "noisy": 2, "line": 2, "trajectory": 2},
        "on_bad_image": "skip",
    },
    "pretrain": {"width": 8, "depth": 3, "patch": 32, "batch": 2, "steps": 3},
    "metatrain": {"warmup_steps": 2, "warmup_patch": 32, "warmup_batch": 2, "steps": 2, "tasks": 2, "shots": 1},
    "dual": {"width": 8, "blocks": 1, "patch": 32, "batch": 2, "steps": 3, "warmup": 1},
    "search": {"patch": 32, "batch": 2, "steps": 2, "multiple": 4, "tolerance": 0.2},
    "prune": {"patch": 32, "batch": 2, "steps": 2, "warmup": 1, "select_batches": 1, "select_batch": 1},
    "compress": {"search_steps": 2, "steps": 2, "multiple": 1},
    "photo": {"width": 8, "blocks": 1, "patch": 32, "batch": 2, "steps": 3},
    "photo_compress": {"search_steps": 2, "steps": 2},
    "nonblind": {"widths": [4] * 4, "blocks": 1, "iterations": 1, "patch": 32, "batch": 2, "steps": 2, "warmup": 1}
    | {"samples": 40, "sample_patch": 32, "corrector_steps": 2},
    "estimate": {
        "iterations": 2,
        "draws": 8,
        "image_steps": 1,
        "kernel_steps": 1,
        "width": 4,
        "levels": 2,
        "window": 32,
    },
    "evaluate": {"tile": 48, "real": "bundled"},
    "export": {"sizes": [[16, 24], [9, 7]]},
}

pytestmark = pytest.mark.timeout(900)  # sixteen processes one after another, on machines that do other work, too

EXAMPLES = {("dual", "network"): "plain", ("estimate", "method"): "mean", ("compress", "method"): "first"}


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A copy of the repository with tiny values, six small photographs and the examples of CONTRIBUTING.md."""
    root = tmp_path_factory.mktemp("factory")
    for name in ("src", "pipelines"):
        shutil.copytree(REPO / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(REPO / name, root)
    shutil.copy(empty_store, root)
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n    no_scm = true\n")
    values = YAML(typ="safe").load((REPO / "params.yaml").read_text())
    archive = _archive(root)
    values["synthesize"]["archives"] = [{"url": archive.as_uri(), "checksum": f"md5:{_md5(archive)}"}]
    for section, changes in TINY.items():
        assert set(changes) <= set(values[section]), f"{section}: tests/test_smoke.py sets what params.yaml lacks"
        values[section].update(changes)
    for (section, key), example in EXAMPLES.items():
        values[section][key] = example
    with (root / "params.yaml").open("w") as file:
        YAML().dump(values, file)
    for example in examples():
        example.add(root)
    for name in ("photographs", "kernels", "unpaired"):
        (root / "inputs" / name).mkdir(parents=True)
    np.save(root / "inputs/kernels/mine.npy", np.full((3, 3), 1 / 9, dtype=np.float32))
    return root


def _archive(root: Path) -> Path:
    """Six small photographs, a copy of one, and a file that is none."""
    folder = root / "set"
    for path in images.bundled():
        if path.stem in ("coffee", "rocket", "china", "camera", "ihc", "motorcycle_left"):
            images.write(images.read(path)[..., 100:196, 150:254], folder / f"{path.stem}.png")
    images.write(images.read(folder / "coffee.png"), folder / "again" / "coffee.jpg")
    (folder / "torn.jpg").write_bytes(b"no photograph")
    return Path(shutil.make_archive(str(folder), "zip", folder))


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def repro(root: Path, environment: dict[str, str]) -> str:
    """Run `dvc repro` and return what it said."""
    paths = os.pathsep.join([str(root / "src"), str(root), str(REPO / "tests/pipelines/loaded")])
    (root / "loaded").mkdir(exist_ok=True)
    (root / "lacking.json").write_text(json.dumps(lacking(distributions("pipeline", "cpu", "gpu"))))
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=root,
        env=environment
        | {
            "PYTHONPATH": paths,
            "SRFOUNDRY_LOADED": str(root / "loaded"),
            "SRFOUNDRY_LACKING": str(root / "lacking.json"),
        },
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def figures(root: Path, stage: str) -> dict[str, Any]:
    return json.loads((root / "results" / folder_of(stage) / "metrics.json").read_text())


def test_from_photographs_to_a_registered_model(factory: Path, environment: dict[str, str]) -> None:
    said = repro(factory, environment)
    assert set(figures(factory, "sharpness")) == {"set__coffee", "set__again__coffee"}
    assert [stage for stage in STAGES if f"Running stage '{stage}'" not in said] == []
    assert all(figures(factory, stage) for stage in STAGES)
    data = figures(factory, "synthesize")
    both = ["set__again__coffee", "set__coffee"]
    assert data["photographs"]["held_out"] == both, "a copy of a test photograph went elsewhere"
    assert list(data["skipped"]) == ["set/torn.jpg"] and data["one_scene"] == [both]
    rows = json.loads((factory / "data" / "synthesize" / "kernels" / "bank.json").read_text())
    assert len(rows) == 9 and rows[-1]["file"] == "mine.npy mine"
    scores = figures(factory, "evaluate")
    for method in ("mzsr0_true", "mzsr1_true", "mzsr10_true", "mzsr10_estimated", "mzsr10_bicubic", "finetune10_true"):
        assert {"psnr_y", "ssim_y", "gain_db"} <= set(scores["gauss20"][method])
    assert scores["bicubic"]["bicubic"]["gain_db"] == 0.0
    assert figures(factory, "prune")["removed_fraction"] >= 0.3
    assert figures(factory, "compress@50")["removed_fraction"] >= 0.5
    assert figures(factory, "compress@70")["removed_fraction"] >= 0.7
    assert {"pruned", "pruned50", "pruned70"} <= set(scores["bicubic"])
    assert figures(factory, "photo_compress@50")["removed_fraction"] >= 0.5
    for test in ("div2krk", "photographs"):
        assert {"bicubic", "pruned", "photo", "photo50"} <= set(scores[test]), "blind sets, for the family alone"
        assert list((factory / "results" / "evaluate" / "pictures").glob(f"{test}_*.png"))
    assert figures(factory, "export")["parity_max_abs"] <= 1e-4
    card = json.loads((factory / "exports" / "photo50.json").read_text())
    assert card["trained_for"]["degradation"] == "photographs" and card["trained_for"]["dual_map"] == "operator"
    assert card["metrics"]["held_out.set"] == "photographs"
    assert card["metrics"]["held_out.photographs"] == scores["photographs"]["photo50"]
    assert json.loads((factory / "exports" / "pruned.json").read_text())["trained_for"] is None
    assert "gain_over_prior_mean_db" in figures(factory, "estimate")
    assert (factory / "exports" / "pruned.onnx").stat().st_size > 1000
    assert list((factory / "results" / "evaluate" / "pictures").glob("gauss20_*.png"))
    assert set(scores["real"]) == {"bicubic", "pruned", "photo50"}
    assert (factory / "results" / "evaluate" / "pictures" / "real.jpg").is_file()

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{factory / 'mlflow.db'}")
    aliases = {alias: int(version) for alias, version in client.get_registered_model("srfoundry").aliases.items()}
    aliases = {alias: version for alias, version in aliases.items() if "int8" not in alias}  # these depend on the clock
    held = {"champion": "pruned", "p50": "pruned50", "p70": "pruned70", "photo": "photo", "photo50": "photo50"}
    held["fp16"] = "pruned"
    lost = {alias: f"{alias}_challenger" for alias in held} | {"champion": "challenger"}  # where it is below bicubic
    above = {alias: scores[judged_on(name)][name]["gain_db"] > 0 for alias, name in held.items()}
    assert aliases == {alias if above[alias] else lost[alias]: number for number, alias in enumerate(held, start=1)}
    experiment = client.get_experiment_by_name("srfoundry")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len({run.data.tags["mlflow.parentRunId"] for run in children}) == 1
    assert {run.data.tags["mlflow.runName"] for run in children} == {*STAGES, "sharpness"}

    again = repro(factory, environment)
    assert [line for line in again.splitlines() if "Running stage" in line] == ["Running stage 'environment':"]


def _loads_what_it_lists(factory: Path) -> None:
    """What Python really loaded, networks by name included, lies in dvc.yaml's inputs, and each input was needed."""
    graph, read = Graph(factory), _read_with_params(factory)
    for stage in STAGES:
        notes = (factory / "loaded").glob(f"{stage}-*.json")
        loaded = {Path(file) for note in notes for file in json.loads(note.read_text())}
        names = {file.relative_to(factory).as_posix() for file in loaded if factory in file.parents}
        listed = [path for path in graph.inputs(stage) if is_input(path)]
        missing = unlisted(names - read, listed, factory)
        assert not missing, f"{stage} loads what dvc.yaml does not list: {missing}"
        names |= closure(REPO / "pipelines" / f"{section_of(stage)}.py")  # other values of params.yaml load more
        idle = [
            path
            for path in filter(is_imported, listed)
            if not any(name == path or name.startswith(f"{path}/") for name in names)
        ]
        assert not idle, f"{stage}: remove {idle} from dvc.yaml"


def _read_with_params(factory: Path) -> set[str]:
    """The files that are loaded with params.yaml, by every stage: settings, and tables of names."""
    ask = "import sys, srfoundry.config.params; print(*(getattr(m, '__file__', '') for m in [*sys.modules.values()]))"
    environment = os.environ | {"PYTHONPATH": str(factory / "src")}
    done = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True)
    found = [Path(file) for file in done.stdout.split()]
    return {file.relative_to(factory).as_posix() for file in found if factory in file.parents}


def test_changed_values_rerun_their_stage_and_its_descendants_only(factory: Path, environment: dict[str, str]) -> None:
    values = YAML(typ="safe").load((factory / "params.yaml").read_text())
    shipped = YAML(typ="safe").load((REPO / "params.yaml").read_text())
    for section, key in EXAMPLES:
        values[section][key] = shipped[section][key]
    with (factory / "params.yaml").open("w") as file:
        YAML().dump(values, file)
    said = repro(factory, environment)
    ran = [stage for stage in STAGES if f"Running stage '{stage}'" in said]
    photo = ["photo", "photo_compress@50"]  # as dual and compress say, but for their own values
    assert ran == ["dual", "search", "prune", "compress@50", "compress@70", *photo, "estimate", "evaluate", "export"]
    _loads_what_it_lists(factory)

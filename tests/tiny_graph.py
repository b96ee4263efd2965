"""The whole graph with tiny values: a copy of the repository, six small photographs, a minute of work."""

import hashlib
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from pipelines.support.graph import ALWAYS, Graph
from srfoundry.imaging import images
from tests.conftest import REPO
from tests.examples import examples
from tests.shipped import SHIPPED

STAGES = [name for name in Graph(REPO).stages if name != ALWAYS]
TINY: dict[str, dict[str, Any]] = {
    "shared": {"threads": 1, "precision": "float32"},
    "synthesize": {
        "source": "archives",
        "held_out": ["set__coffee"],
        "validation": ["set__rocket"],
        "smallest": 64,
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
    | {"samples": 40, "sample_patch": 32, "corrector_steps": 2, "classifier_windows": 40, "classifier_steps": 2},
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

EXAMPLES = {("dual", "network"): "plain", ("estimate", "method"): "mean", ("compress", "method"): "first"}


def make(root: Path, store: Path | None = None) -> Path:
    """Make the copy in `root`, with the worked examples of docs/extending.md; it is no git repository.

    Args:
        root: an empty folder.
        store: an empty MLflow database to begin with.
    """
    root.mkdir(exist_ok=True)
    for name in ("src", "pipelines"):
        shutil.copytree(REPO / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "scripts").mkdir()
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", "prefect.yaml", "automations.yaml", "scripts/follow.sh"):
        shutil.copy(REPO / name, root / name)
    if store is not None:
        shutil.copy(store, root)
    (root / ".dvc").mkdir()
    settings = (REPO / ".dvc" / "config").read_text()
    (root / ".dvc" / "config").write_text(settings.replace("[core]\n", "[core]\n    no_scm = true\n"))
    shutil.copy(SHIPPED, root)
    for example in examples():
        example.add(root)
    values = YAML(typ="safe").load((root / "params.yaml").read_text())
    archive = _archive(root)
    values["synthesize"]["archives"] = [{"url": archive.as_uri(), "checksum": f"md5:{_md5(archive)}"}]
    for section, changes in TINY.items():
        assert set(changes) <= set(values[section]), f"{section}: tests/tiny_graph.py sets what params.yaml lacks"
        values[section].update(changes)
    values["synthesize"]["bank"] = dict.fromkeys(values["synthesize"]["bank"], 2)
    for (section, key), example in EXAMPLES.items():
        values[section][key] = example
    with (root / "params.yaml").open("w") as file:
        YAML().dump(values, file)
    for name in ("photographs", "kernels", "unpaired"):
        (root / "inputs" / name).mkdir(parents=True)
    np.save(root / "inputs/kernels/mine.npy", np.full((3, 3), 1 / 9, dtype=np.float32))
    return root


def arrived(uri: str, seconds: float) -> bool:
    """Whether, within so many seconds, MLflow has a finished run of every stage, and an alias for each of the family.

    Args:
        uri: of the MLflow server.
    """
    from mlflow import MlflowClient

    client, deadline = MlflowClient(uri, uri), time.monotonic() + seconds
    while True:
        experiment = client.get_experiment_by_name("srfoundry")
        runs = client.search_runs([experiment.experiment_id]) if experiment else []
        finished = {run.data.tags["dvc.stage"] for run in runs if run.info.status == "FINISHED"}
        if {*STAGES, "pipeline"} <= finished:
            break
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    # on so little training a member may be below bicubic, and is a challenger then
    aliases = {each.removesuffix("challenger").rstrip("_") for each in client.get_registered_model("srfoundry").aliases}
    return {"p50", "p70", "photo", "photo50", "fp16"} <= aliases and bool({"champion", ""} & aliases)


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

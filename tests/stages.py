"""Stages run one by one in the test's own process, on tiny values, on whatever device a test pretends to have."""

import importlib
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ruamel.yaml import YAML

from pipelines.support.graph import section_of
from pipelines.support.stage import Stage
from srfoundry.config import params
from srfoundry.degradation.kernel_families import FAMILIES
from srfoundry.imaging import images
from tests.conftest import REPO
from tests.shipped import SHIPPED
from tests.tiny_graph import TINY

Changes = Mapping[str, Mapping[str, Any]]

LESS: dict[str, dict[str, Any]] = {
    "diffuse": {"widths": [8, 16], "patch": 16, "batch": 2, "steps": 2, "warmup": 1}
    | {"sampler": {"evaluations": 2, "start": 0.4, "guidance": 1.0, "renoise": 1.0, "floor": 0.002, "learn": 0.8}},
    "unfolded": {"scales": [2], "widths": [4] * 3, "kernel_widths": [4] * 3, "look": 16, "batch": 2, "steps": 2},
    "kernel_step": {"widths": [4] * 3, "cases": 1, "patch": 120, "batch": 2, "steps": 1},
    "fusion": {
        "widths": [4] * 3,
        "photographs": 2,
        "thumbnails": 1,
        "patch": 120,
        "square": 16,
        "batch": 2,
        "steps": 2,
    },
    "beamform": {"users": 2, "antennas": 2, "instances": 1, "snr": [10.0], "steps": 2, "iterations": 2, "restarts": 2},
    "synthesize": {
        "source": "folder",
        "held_out": ["coffee"],
        "validation": ["rocket"],
        "on_bad_image": "stop",
        "smallest": 64,
    }
    | {"bank": dict.fromkeys(FAMILIES, 1) | {"gaussian": 2}},
}
FOUR: dict[str, int] = dict.fromkeys(("coffee", "rocket", "china", "ihc"), 96)


def folder(root: Path, photographs: Mapping[str, int] = FOUR) -> Path:
    """A project's folder with small photographs and one kernel of the user's.

    Args:
        photographs: name of a bundled one -> pixels a side that are cut from it.
    """
    for name in ("src", "pipelines"):
        (root / name).symlink_to(REPO / name)
    shutil.copy(REPO / "dvc.yaml", root)
    shutil.copytree(REPO / "graphs", root / "graphs")
    (root / "results/environment").mkdir(parents=True)
    (root / "results/environment/versions.json").write_text("{}")
    for name in ("photographs", "kernels", "unpaired"):
        (root / "inputs" / name).mkdir(parents=True)
    for path in images.bundled():
        if side := photographs.get(path.stem):
            top, left = (100, 150) if side < 250 else (0, 0)
            images.write(
                images.read(path)[..., top : top + side, left : left + side],
                root / f"inputs/photographs/{path.stem}.png",
            )
    np.save(root / "inputs/kernels/mine.npy", np.full((3, 3), 1 / 9, dtype=np.float32))
    return root


def run(name: str, root: Path, *changes: Changes, device: AbstractContextManager[torch.device] | None = None) -> Stage:
    """A stage's function on tiny values.

    Args:
        name: of the stage.
        root: made by `folder`.
        changes: of the values, later ones over earlier ones.
        device: that it runs on; the CPU if not given.
    """
    values = YAML(typ="safe").load(SHIPPED.read_text())
    for each in (TINY, LESS, *changes):
        for section, some in each.items():
            values[section] |= some
    with (root / "params.yaml").open("w") as file:
        YAML().dump(values, file)
    stage = Stage(name, root, params.check(values, "params"))
    stage.__dict__["digests"] = {"data/synthesize": 32 * "0"}
    section = section_of(name)
    with device or nullcontext(torch.device("cpu")) as stage.__dict__["device"]:
        getattr(importlib.import_module(f"pipelines.{section}"), section)(stage)
    return stage

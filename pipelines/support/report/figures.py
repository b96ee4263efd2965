"""The figures of a run: as results/ has them now, as the last commit had them, and what each model gains."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.support.graph import folder_of
from srfoundry.evaluation.result_tables import ALIGNED
from srfoundry.reporting.run.contents import Change, Quality
from srfoundry.runtime.session import BICUBIC
from srfoundry.tracking.names import numbers

KEY_FIGURES = [  # title, stage, name
    ("dual over bicubic, dB", "evaluate", "bicubic.dual.gain_db"),
    ("pruned over bicubic, dB", "evaluate", "bicubic.pruned.gain_db"),
    ("pruned by 50 % over bicubic, dB", "evaluate", "bicubic.pruned50.gain_db"),
    ("pruned by 70 % over bicubic, dB", "evaluate", "bicubic.pruned70.gain_db"),
    ("parameters removed", "prune", "removed_fraction"),
    ("MZSR, 10 steps, true kernel, aligned bicubic, dB", "evaluate", "gauss20.mzsr10_true.gain_aligned_db"),
    (
        "MZSR, 10 steps, kernel estimated, aligned bicubic, dB",
        "evaluate",
        "gauss20.mzsr10_estimated.gain_aligned_db",
    ),
    ("plain fine-tuning, 10 steps, aligned bicubic, dB", "evaluate", "gauss20.finetune10_true.gain_aligned_db"),
    ("non-blind network, true kernel, over bicubic, dB", "nonblind", "validation.gain_db"),
    ("kernel estimate over the prior's mean, dB", "estimate", "gain_over_prior_mean_db"),
    ("ONNX against PyTorch, worst difference", "export", "parity_max_abs"),
]


def metrics(root: Path, stage: str, commit: str = "") -> dict[str, Any]:
    """The content of results/STAGE/metrics.json, empty where there is none.

    Args:
        root: the project's folder.
        stage: as dvc.yaml has it.
        commit: of git; the file as it is now if not given.
    """
    path = f"results/{folder_of(stage)}/metrics.json"
    try:
        if not commit:
            return json.loads((root / path).read_text())
        found = subprocess.run(
            ["git", "show", f"{commit}:./{path}"], cwd=root, capture_output=True, text=True, check=True
        )
        return json.loads(found.stdout)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return {}


def key_figures(root: Path) -> list[Change]:
    """Those that `make repro` ends with."""
    return [_change(root, title, stage, name) for title, stage, name in KEY_FIGURES]


def all_figures(root: Path, stages: Sequence[str]) -> list[Change]:
    """Every number of every stage, named STAGE.NAME."""
    found: list[Change] = []
    for stage in stages:
        now, before = (numbers(metrics(root, stage, commit)) for commit in ("", "HEAD"))
        names = dict.fromkeys([*now, *before])
        found += [Change(f"{stage}.{name}", now.get(name), before.get(name)) for name in names]
    return found


def quality(root: Path) -> dict[str, list[Quality]]:
    """What each model reaches on each test set of the stage evaluate, the best first; bicubic among them."""
    whole = metrics(root, "evaluate")
    by_photograph = whole.get("by_photograph", {})
    found: dict[str, list[Quality]] = {}
    for test, models in sorted(whole.items(), key=lambda item: item[0] != BICUBIC):  # what most models are made for
        if test == "by_photograph" or not isinstance(models, Mapping):
            continue
        rows = [
            Quality(
                name,
                row["psnr_y"],
                row.get("gain_aligned_db", row.get("gain_db", 0.0)),
                _worst(by_photograph.get(test, {}), name),
                row.get("ssim_y"),
            )
            for name, row in models.items()
            if isinstance(row, Mapping) and "psnr_y" in row
        ]
        if rows:
            found[test] = sorted(rows, key=lambda row: -row.psnr)
    return found


def _worst(photographs: Mapping[str, Mapping[str, float]], model: str) -> str:
    own, bicubic = photographs.get(model, {}), photographs.get(ALIGNED, photographs.get(BICUBIC, {}))
    gains = {name: psnr - bicubic[name] for name, psnr in own.items() if name in bicubic}
    if not gains or model in (BICUBIC, ALIGNED):
        return ""
    name = min(gains, key=lambda each: gains[each])
    return f"{name} {gains[name]:+.2f} dB"


def _change(root: Path, title: str, stage: str, name: str) -> Change:
    now, before = (numbers(metrics(root, stage, commit)).get(name) for commit in ("", "HEAD"))
    return Change(title, now, before)

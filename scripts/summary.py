"""What `make repro` ends with: the key figures, where the pictures are, what to do next."""

import json
import sys
from pathlib import Path
from typing import Any

FIGURES = [
    ("dual over bicubic, dB", "evaluate", "bicubic.dual.gain_db"),
    ("pruned over bicubic, dB", "evaluate", "bicubic.pruned.gain_db"),
    ("pruned by 50 % over bicubic, dB", "evaluate", "bicubic.pruned50.gain_db"),
    ("pruned by 70 % over bicubic, dB", "evaluate", "bicubic.pruned70.gain_db"),
    ("parameters removed", "prune", "removed_fraction"),
    ("MZSR, 10 steps, true kernel, over bicubic, dB", "evaluate", "gauss20.mzsr10_true.gain_db"),
    ("MZSR, 10 steps, estimated kernel, over bicubic, dB", "evaluate", "gauss20.mzsr10_estimated.gain_db"),
    ("plain fine-tuning, 10 steps, over bicubic, dB", "evaluate", "gauss20.finetune10_true.gain_db"),
    ("non-blind network, true kernel, over bicubic, dB", "nonblind", "validation.gain_db"),
    ("kernel estimate over the prior's mean, dB", "estimate", "gain_over_prior_mean_db"),
    ("ONNX against PyTorch, worst difference", "export", "parity_max_abs"),
]


def figure(root: Path, stage: str, name: str) -> str:
    """One figure of results/<stage>/metrics.json as text, `-` where it is not there."""
    try:
        value: Any = json.loads((root / "results" / stage / "metrics.json").read_text())
        for part in name.split("."):
            value = value[part]
    except (OSError, ValueError, KeyError, TypeError):
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def text(root: Path) -> str:
    """The whole summary."""
    rows = [f"{title:52s} {figure(root, stage, name):>10s}" for title, stage, name in FIGURES]
    found = sorted((root / "exports").glob("*.onnx"), key=lambda path: path.stat().st_size)  # smallest first
    models = [path.relative_to(root).as_posix() for path in found]
    model = next((each for each in models if each.endswith("/pruned.onnx")), "exports/MODEL.onnx")
    tail = [
        "pictures  results/evaluate/",
        "models    " + (", ".join(models) or "none yet"),
        "next      make ui    curves, pictures, runs and registered models (make stop ends the servers)",
        f"          .venv/bin/srfoundry upscale PHOTO --model {model}",
    ]
    return "\n".join(["", *rows, "", *tail])


if __name__ == "__main__":
    sys.stdout.write(text(Path.cwd()) + "\n")

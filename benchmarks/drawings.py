"""Are drawings made worse? `restore` with drawings of 27 kinds, reduced as photographs are in `benchmarks.blind`.

python -m benchmarks.drawings                                   needs `make repro` before
python -m benchmarks.drawings --restorer models/nonblind.safetensors --classes bicubic area gaussian
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import table
from benchmarks._blind_classes import SORTS, each
from benchmarks._blind_products import Products
from benchmarks._drawings import drawings
from srfoundry.core.progress import track

CLASSES = ("bicubic", "area", "lanczos", "bicubic_q90", "unblurred", "gaussian")
WORSE = -0.1  # dB against aligned bicubic


def gains(products: Products, kind: str, scale: int, *, seed: int) -> dict[str, Any]:
    """A row: what `auto` gains over aligned bicubic of the drawings of a class.

    Args:
        products: the restorer.
        kind: a name of SORTS.
        scale: of the reduction.
        seed: of drawings, kernels and noise.
    """
    found = {}
    for case in track(list(each(drawings(seed), kind, scale, seed=seed)), kind):
        score = products.score("auto", case, packed=SORTS[kind].quality is not None)
        found[case.name] = score.gain
    worst = min(found, key=found.__getitem__)
    every = np.array(list(found.values()))
    return {
        "class": kind,
        "scale": scale,
        "drawings": len(found),
        "mean": round(float(every.mean()), 2),
        "median": round(float(np.median(every)), 2),
        "worse": int((every < WORSE).sum()),
        "worst": round(found[worst], 2),
        "of": worst,
    }


def main() -> None:
    """Measure every class."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restorer", type=Path, default=Path("models/metatrain.safetensors"), help="%(default)s")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="default: %(default)s")
    parser.add_argument("--classes", nargs="+", choices=list(SORTS), default=list(CLASSES), help="default: six")
    parser.add_argument("--scale", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="of drawings, kernels and noise (default: 1)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    products = Products(options.restorer, options.restorer.parent, options.params, Path("runs/drawings"))
    rows = [gains(products, kind, options.scale, seed=options.seed) for kind in options.classes]
    figures = {f"{row['class']}_{key}": row[key] for row in rows for key in ("mean", "worst")}
    table.report("drawings", rows, threads=options.threads, **figures)


if __name__ == "__main__":
    table.run(main)

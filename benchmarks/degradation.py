"""Is the degradation exact, is it fast, and does loading keep up?

python -m benchmarks.degradation --data ../shared/data        two minutes on two cores
python -m benchmarks.degradation --only speed loading          parts of it; the other figures stay as they were

Exactness needs the golden images, which are for research only and not part of the project (--data names their folder).
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import _exactness, _loading, table
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels, operator

NAME = "degradation"


def exactness(options: argparse.Namespace) -> dict[str, Any]:
    """Against MATLAB's, MZSR's and DKP's own images, and the published rows of bicubic."""
    if not (options.data / "golden").is_dir():
        raise FoundryError(f"{options.data} holds no golden images; name their folder with --data")
    rows = _exactness.table(options.data)
    return {
        "matlab_pixels_different": _exactness.matlab(options.data),
        "mzsr_g20_pixels_different": _exactness.mzsr(options.data),
        **_exactness.blind(options.data),
        "adjoint_error": _exactness.adjoints(),
        "published_cells": sum("away_db" in row for row in rows),
        "published_worst_db": max(abs(row["away_db"]) for row in rows if "away_db" in row),
        "rows": rows,
    }


def speed(options: argparse.Namespace) -> dict[str, Any]:
    """64 patches of 192 x 192, each with its own kernel of 21 x 21, x2: one call against scipy, image by image."""
    from scipy.ndimage import correlate

    torch.set_num_threads(options.threads)
    rng = generator(0, "speed")
    high = torch.rand(64, 3, 192, 192, generator=rng)
    bank, _ = kernels.draw_noisy(64, size=21, scale=2, rng=rng)
    images, taps = high.permute(0, 2, 3, 1).contiguous().numpy(), bank.numpy()

    def loop() -> list[Any]:
        lows = []
        for image, kernel in zip(images, taps, strict=True):
            blurred = np.stack([correlate(image[..., channel], kernel) for channel in range(3)], axis=-1)
            lows.append(blurred[::2, ::2])
        return lows

    def batched() -> torch.Tensor:
        return operator.degrade(high, bank, 2)

    away = np.abs(np.stack(loop()) - batched().permute(0, 2, 3, 1).numpy()).max()
    seconds = table.interleaved({"loop": loop, "batched": batched}, options.rounds, warm_up=1)
    ratio = statistics.median(seconds["loop"]) / statistics.median(seconds["batched"])
    return {
        "degrade_speedup": round(ratio, 2),
        "degrade_batched_ms": round(1e3 * statistics.median(seconds["batched"]), 2),
        "degrade_away_from_scipy": float(away),
    }


def loading(_: argparse.Namespace) -> dict[str, Any]:
    """Patches against the training steps that eat them, and what a 4 GB set takes of the memory."""
    return {**_loading.loader_over_training(), **_loading.loader_rss()}


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "speed": speed,
    "loading": loading,
    "exactness": exactness,
}


def main() -> None:
    """Measure the parts asked for, and write all figures known so far."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="default: %(default)s")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="parts to measure (default: all that can be)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--rounds", type=int, default=9, help="timed runs (default: 9)")
    options = parser.parse_args()
    path = table.RESULTS / f"{NAME}.json"
    figures: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    figures.pop("machine", None)
    for part in options.only or PARTS:
        if part == "exactness" and not options.only and not (options.data / "golden").is_dir():
            sys.stderr.write(f"exactness is left as it was: no golden images in {options.data}\n")
            continue
        figures |= PARTS[part](options)
    table.report(NAME, figures.pop("rows", []), threads=options.threads, **figures)


if __name__ == "__main__":
    table.run(main)

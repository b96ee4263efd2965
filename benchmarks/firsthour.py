"""A stranger's first hour: `make repro` on a fresh clone with this environment, its figures, and what a deployer meets.

python -m benchmarks.firsthour                     all parts; 40 minutes on two cores that do nothing else
python -m benchmarks.firsthour --parts avx2 full   some; the other figures of an earlier run stay

    avx2     make repro in float32 with nothing beyond AVX2 (oneDNN, ATen and MKL are held to it): what an ordinary
             processor does, on this one's clock
    full     make repro as this processor does it; with its models what tiles compute beyond what is needed, and what
             the 70 % member saves in `upscale`
    outage   seconds that a training loses while MLflow is stopped for five minutes

Needs git, and a .venv beside (make setup). Each part is written to benchmarks/results/firsthour.json when it is done.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import benchmarks.tiles
from benchmarks import table
from benchmarks.outage import outage_seconds
from srfoundry.core.errors import FoundryError

ROOT = Path(__file__).parent.parent
PLAIN = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
PARTS = ("avx2", "full", "outage")
OUTAGE = 300.0  # seconds without MLflow
TARGETS = {
    "repro_minutes_avx2": ("at most", 20.0),
    "repro_minutes": ("at most", 10.0),
    "dual_over_bicubic": ("at least", 1.8),
    "pruned_against_dense": ("at least", -0.10),
    "mzsr_over_bicubic": ("at least", 4.5),
    "mzsr_over_finetuning": ("at least", 3.0),
    "kernel_over_prior_mean": ("at least", 8.0),
    "upscale_ratio_70": ("at most", 0.60),
    "tile_overhead_257": ("at most", 1.35),
    "tile_overhead_512": ("at most", 1.25),
    "tile_overhead_1024": ("at most", 1.2),
    "outage_seconds": ("at most", 5.0),
}


def reproduced(environment: dict[str, str], *, tiles: bool) -> dict[str, Any]:
    """Clone what is committed, run `make repro` there, and return its minutes and figures; the clone is removed.

    Args:
        environment: for it, beside this process's.
        tiles: whether its models are timed in `upscale`, too.

    Raises:
        FoundryError: it failed.
    """
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "OMP_NUM_THREADS")}
    with tempfile.TemporaryDirectory(prefix="firsthour-") as folder:
        clone = Path(folder) / "srfoundry"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        (clone / ".venv").symlink_to((ROOT / ".venv").resolve())
        # the environment's srfoundry is this checkout's, unless the clone's comes first
        clean |= {"PYTHONPATH": f"{clone / 'src'}:{clone}", **environment}
        began = time.monotonic()
        code = subprocess.run(["make", "repro"], cwd=clone, env=clean, check=False).returncode
        minutes = (time.monotonic() - began) / 60
        subprocess.run(["make", "stop"], cwd=clone, env=clean, check=False)
        if code:
            raise FoundryError(f"make repro ended with {code} in a fresh clone; read what it said above")
        found = {"minutes": round(minutes, 2), **figures(clone)}
        if tiles:
            found |= benchmarks.tiles.figures(clone / benchmarks.tiles.DENSE, clone / benchmarks.tiles.MEMBER)
        return found


def figures(root: Path) -> dict[str, float]:
    """What the README promises, from results/ of a finished run, dB."""

    def read(stage: str) -> dict[str, Any]:
        return json.loads((root / "results" / stage / "metrics.json").read_text())

    scores = read("evaluate")
    bicubic, blurred = scores["bicubic"], scores["gauss20"]
    mzsr = blurred["mzsr10_true"]["psnr_y"]
    return {
        "dual_over_bicubic": bicubic["dual"]["gain_db"],
        "pruned_against_dense": bicubic["pruned"]["psnr_y"] - bicubic["dual"]["psnr_y"],
        "pruned50_against_dense": bicubic["pruned50"]["psnr_y"] - bicubic["dual"]["psnr_y"],
        "pruned70_against_dense": bicubic["pruned70"]["psnr_y"] - bicubic["dual"]["psnr_y"],
        "mzsr_over_bicubic": blurred["mzsr10_true"]["gain_db"],
        "mzsr_estimated_over_bicubic": blurred["mzsr10_estimated"]["gain_db"],
        "mzsr_over_aligned_bicubic": blurred["mzsr10_true"]["gain_aligned_db"],
        "mzsr_estimated_over_aligned_bicubic": blurred["mzsr10_estimated"]["gain_aligned_db"],
        "mzsr_over_finetuning": mzsr - blurred["finetune10_true"]["psnr_y"],
        "kernel_over_prior_mean": read("estimate")["gain_over_prior_mean_db"],
    }


def measured(part: str) -> dict[str, Any]:
    """The figures of one part, by name."""
    if part == "avx2":
        found = reproduced(PLAIN, tiles=False)
        return {"repro_minutes_avx2": found.pop("minutes"), **{f"{name}_avx2": value for name, value in found.items()}}
    if part == "full":
        found = reproduced({}, tiles=True)
        return {"repro_minutes": found.pop("minutes"), **found}
    return {"outage_seconds": outage_seconds(OUTAGE)}


def rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Each figure beside what was wanted of it, the AVX2 run's own as well."""
    lines = []
    for name, value in found.items():
        how, wanted = TARGETS.get(name) or TARGETS.get(name.removesuffix("_avx2"), ("", None))
        met = "" if wanted is None else "yes" if (value <= wanted) == (how == "at most") or value == wanted else "no"
        lines.append({"figure": name, "measured": value, "wanted": f"{how} {wanted}" if how else "", "met": met})
    return lines


def main() -> None:
    """Measure the parts one after the other, each written at once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    options = parser.parse_args()
    file = table.RESULTS / "firsthour.json"
    found: dict[str, Any] = {}
    if file.exists():
        earlier = json.loads(file.read_text())
        found = {row["figure"]: row["measured"] for row in earlier["rows"]}
    for part in options.parts:
        found |= measured(part)
        processor = table.machine(1)["cpu"]
        table.report("firsthour", rows(found), threads=1, **found, processor=processor)


if __name__ == "__main__":
    table.run(main)

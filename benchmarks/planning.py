"""How long does it take to plan where the results of a large folder go? Before the first image is read.

python -m benchmarks.planning                  20,000 files in 40 folders, three times; processor seconds
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import table
from srfoundry.cli.plan import Naming, plan

FOLDERS = 40


def planning(count: int, rounds: int = 3) -> dict[str, Any]:
    """Seconds for `count` files as `upscale FOLDER` and as `restore FILES` plan them, and what twice as many take."""
    with tempfile.TemporaryDirectory() as folder:
        half, whole = Path(folder) / "half", Path(folder) / "whole"
        for root, files in ((half, count // 2), (whole, count)):
            for number in range(files):
                place = root / f"{number % FOLDERS}"
                if number < FOLDERS:
                    place.mkdir(parents=True)
                (place / f"{number // 2}{('.jpg', '.png')[number // FOLDERS % 2]}").touch()
        listed = sorted(whole.rglob("*.*"))
        seconds = {
            "folder": [_seconds([whole], Naming("x2")) for _ in range(rounds)],
            "half": [_seconds([half], Naming("x2")) for _ in range(rounds)],
            "files": [_seconds(listed, Naming("restored", beside=("_kernel.npy", "_kernel.png")))],
        }
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        f"plan_{count}_seconds": round(median["folder"], 3),
        f"plan_{count}_files_seconds": round(median["files"], 3),
        "plan_twice_over_once": round(median["folder"] / median["half"], 2),
    }


def _seconds(sources: list[Path], naming: Naming) -> float:
    began = time.process_time()
    plan(sources, None, naming)
    return time.process_time() - began


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and merge the figures into survival.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000, help="to plan (default: 20000)")
    table.merge("survival", "planning", planning(parser.parse_args(arguments).files), threads=1)


if __name__ == "__main__":
    table.run(main)

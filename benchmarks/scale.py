"""Beyond one machine: what two processes gain, what travels, what a trainer waits for, and what it all costs.

python -m benchmarks.scale                         all parts, twenty minutes on two idle cores
python -m benchmarks.scale parallel feed           some parts; the others' figures stay as the file has them

parallel  `dual` on one, two and four processes (_scale_parallel)
feed      loading and preparing (_scale_feed)
remote    the tiny graph through PostgreSQL, MLflow, Prefect's worker and a DVC remote (_scale_remote)
cost      seconds of a step, and days at the papers' budgets by a model (_scale_cost)

Times are ratios of one run; nothing else should run beside. Figures stand in benchmarks/results/scale.json.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import _scale_cost, _scale_feed, _scale_parallel, _scale_remote, table

PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "parallel": lambda options: _scale_parallel.figures(options.data),
    "feed": lambda options: _scale_feed.figures(),
    "remote": lambda options: _scale_remote.figures(),
    "cost": lambda options: _scale_cost.figures(options.data / "train"),
}


def main() -> None:
    """Measure the parts that are asked for, and keep what the others came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--data", type=Path, default=Path("data/synthesize"), help="prepared photographs")
    options = parser.parse_args()
    if unknown := sorted(set(options.parts) - set(PARTS)):
        parser.error(f"parts are {', '.join(PARTS)}, got {', '.join(unknown)}")
    path = table.RESULTS / "scale.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    found.pop("machine", None)
    for part in options.parts or PARTS:
        found |= PARTS[part](options)
    table.report("scale", found.pop("rows", []), threads=1, **found)


if __name__ == "__main__":
    table.run(main)

"""What adaptation is worth: every method with steps against the same without, image by image: a part of `mzsr`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

QUARTER = {"narrow": 0.75, "wide": 1.25}  # factors of the variances of kernels that are wrong by a quarter
ERROR = 0.25  # what adaptation is told of them


def over_zero(scores: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """For each method with steps, mean and worst dB over the method without, over the images of a set.

    Args:
        scores: PSNR of each image by method, `mzsr10_true` beside `mzsr0_true`.
    """
    found = {}
    for method, values in scores.items():
        name, _, kind = method.rpartition("_")
        zero = scores.get(f"mzsr0_{kind}")
        if zero is not None and name.startswith("mzsr") and name != "mzsr0":
            gains = np.subtract(values, zero)
            found[method] = {"over_zero_db": round(float(gains.mean()), 4), "worst_db": round(float(gains.min()), 4)}
    return found


def figures(rows: Iterable[Mapping[str, Any]], steps: int) -> dict[str, float]:
    """The figures of all sets and kernels together, of those that were measured.

    Args:
        rows: of the table, with what `over_zero` gives.
        steps: of a whole adaptation.
    """
    measured = [row for row in rows if "over_zero_db" in row]

    def mean(count: int, *kinds: str) -> float | None:
        values = [row["over_zero_db"] for row in measured if row["method"] in {f"mzsr{count}_{kind}" for kind in kinds}]
        return float(np.mean(values)) if values else None

    found = {
        "adaptation_gain_true": mean(steps, "true"),
        "adaptation_gain_estimated": mean(steps, "estimated"),
        "adaptation_gain_quarter": mean(steps, *QUARTER),
        "adaptation_worst": min(
            (row["worst_db"] for row in measured if row["method"] == f"mzsr{steps}_true"), default=None
        ),
    }
    one, all_ = mean(1, "true"), found["adaptation_gain_true"]
    if one is not None and all_:
        found["adaptation_first_step_share"] = one / all_
    return {name: round(value, 4) for name, value in found.items() if value is not None}

"""Results on disk: figures and curves, the same bytes for the same numbers."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from srfoundry.core.atomic import write_bytes
from srfoundry.core.errors import FoundryError


def write_metrics(path: Path, values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Write figures as JSON, sorted and rounded to six places (small values to four digits), and return them so.

    Args:
        path: of the file; the folder above is made.
        values: numbers, texts, lists and mappings of such.
        name: what an error calls the values.

    Raises:
        FoundryError: a number is not finite.
    """
    found = {key: rounded(value, f"{name}.{key}") for key, value in values.items()}
    write_bytes(path, (json.dumps(found, indent=2, sort_keys=True) + "\n").encode())
    return found


def rounded(value: Any, name: str) -> Any:
    """A figure as it is written: six places, small ones four digits.

    Raises:
        FoundryError: a number is not finite.
    """
    if isinstance(value, Mapping):
        return {str(key): rounded(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item, f"{name}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    number = float(value)
    if not math.isfinite(number):
        raise FoundryError(f"metric {name} is {number}, a finite number is needed; look at results and curves")
    return round(number, 6) if abs(number) >= 1e-3 else float(f"{number:.4g}")


def curve_names(history: Sequence[Mapping[str, float]]) -> list[str]:
    """What a curve's rows hold besides the step, in the order in which it first comes."""
    return list(dict.fromkeys(name for row in history for name in row if name != "step"))


def write_curve(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write a curve as CSV: a column for the step and one for each value; a value may be missing in a row."""
    names = curve_names(history)
    text = StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", *names])
    for index, row in enumerate(history):
        cells = [f"{row[name]:.6g}" if name in row else "" for name in names]
        writer.writerow([int(row.get("step", index)), *cells])
    write_bytes(path, text.getvalue().encode())

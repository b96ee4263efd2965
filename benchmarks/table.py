"""What every benchmark shares: describe the machine, print one table, write the JSON beside it."""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from srfoundry.core import atomic
from srfoundry.core.errors import FoundryError

RESULTS = Path(__file__).parent / "results"


def machine(threads: int) -> dict[str, Any]:
    """CPU model, usable cores, GPU, versions and the threads in use."""
    import torch

    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "threads": threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnxruntime": _version("onnxruntime-gpu") or _version("onnxruntime"),
    }


def interleaved(contestants: Mapping[str, Callable[[], Any]], rounds: int, warm_up: int = 2) -> dict[str, list[float]]:
    """Seconds of each call, taken in turns (A B, B A, A B, ...), so that a busy moment meets all of them alike."""
    for _ in range(warm_up):
        for call in contestants.values():
            call()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds):
        for name in list(contestants)[:: 1 if turn % 2 == 0 else -1]:
            began = time.perf_counter()
            contestants[name]()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Median and quartiles in milliseconds."""
    low, middle, high = statistics.quantiles(seconds, n=4)
    return {"median_ms": round(1e3 * middle, 3), "q1_ms": round(1e3 * low, 3), "q3_ms": round(1e3 * high, 3)}


def report(name: str, rows: Sequence[Mapping[str, Any]], *, threads: int, **figures: Any) -> None:
    """Print the rows as a table with the figures and the machine below, and write benchmarks/results/NAME.json."""
    about = machine(threads)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *[[_text(row.get(column, "")) for column in columns] for row in rows]]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    for line in cells:
        sys.stdout.write("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) + "\n")
    for key, value in figures.items():
        sys.stdout.write(f"{key}: {_text(value)}\n")
    sys.stdout.write(f"{about['cpu']}, {about['cores']} cores, {threads} threads, torch {about['torch']}\n")
    RESULTS.mkdir(exist_ok=True)
    whole = {**figures, "rows": list(rows), "machine": about}
    (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=2) + "\n")


def merge(name: str, part: str, figures: Mapping[str, Any], *, threads: int) -> None:
    """Print the figures of one part and put them among those of others in benchmarks/results/NAME.json.

    Args:
        name: of the file.
        part: whose figures these are; `machines` says where each part ran.
        figures: replace those of its last run.
        threads: of the measurement.
    """
    for key, value in figures.items():
        sys.stdout.write(f"{key}: {value if isinstance(value, str) else json.dumps(value)}\n")
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    machines = {**before.get("machines", {}), part: machine(threads)}
    whole = {**before, **figures, "machines": machines}
    atomic.write_bytes(path, json.dumps(whole, indent=2).encode() + b"\n")


def run(main: Callable[[], None]) -> None:
    """Run a benchmark; a missing model is one line, as everywhere."""
    try:
        main()
    except FoundryError as error:
        sys.exit(f"error: {error}")


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

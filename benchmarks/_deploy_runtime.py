"""What a lean installation weighs, how soon it has enlarged a small image, and what it takes for a large photograph.

The wheel is built and installed with [cpu] into an environment of its own, where pip's settings find the packages; all
is measured there. What stood before is measured in the same turns: `torch_imported` stands for the program before it
did without PyTorch (which took as long, to 3 %), `pytorch` is the same enlargement by PyTorch itself. The plain loop is
what one writes with ONNX Runtime in ten lines: the same tiles, cut hard and pasted, the same PNG compression.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.tiles import PEAK, photograph
from srfoundry.core.errors import FoundryError
from srfoundry.imaging import formats, images, tiling
from srfoundry.runtime.session import Session

MODEL, CHECKPOINT = Path("exports/pruned.onnx"), Path("models/prune.safetensors")
ROOT = Path(__file__).resolve().parent.parent
SIDE, SMALL = 2000, 64  # pixels of the photographs
OWN = {"pip", "setuptools", "wheel"}  # of an empty environment
FORMER = "import torch\n" + PEAK
PLAIN = """
import json, sys
import numpy as np, onnxruntime
from PIL import Image
model, source, target, level, scale, rows, columns, tall, wide = map(json.loads, sys.argv[1:])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
low = np.asarray(Image.open(source).convert("RGB"))
high = np.empty((low.shape[0] * scale, low.shape[1] * scale, 3), np.uint8)
for top in rows:
    for left in columns:
        tile = low[top : top + tall, left : left + wide].transpose(2, 0, 1)[None].astype(np.float32) / 255
        large = session.run(None, {"low": tile})[0][0].transpose(1, 2, 0)
        place = high[top * scale : (top + tall) * scale, left * scale : (left + wide) * scale]
        place[:] = (large * 255 + 0.5).astype(np.uint8)
Image.fromarray(high).save(target, compress_level=level)
line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(line.split()[1]) // 1024, file=sys.stderr)
"""


@dataclass(frozen=True)
class Took:
    """One process, start to end: seconds on the clock and of the processor, and its peak in MiB."""

    seconds: float
    processor: float
    peak: int


def figures(model: Path = MODEL, checkpoint: Path = CHECKPOINT, rounds: int = 5) -> dict[str, Any]:
    """Every figure of a lean installation.

    Args:
        model: an exported model.
        checkpoint: the same network as a checkpoint.
        rounds: of each process; the medians count.
    """
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        python, found = installed(folder)
        found |= start_up(python, folder, model.resolve(), checkpoint.resolve(), rounds)
        return found | large_photograph(python, folder, model.resolve(), max(rounds // 2, 2))


def installed(folder: Path) -> tuple[Path, dict[str, Any]]:
    """An environment with the wheel and [cpu]: its Python, and how many packages and megabytes came with them."""
    _call([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT])
    wheel = next(folder.glob("*.whl"))
    _call([sys.executable, "-m", "venv", folder / "lean"])
    python = folder / "lean/bin/python"
    _call([python, "-m", "pip", "install", "-q", "-c", ROOT / "requirements.lock", f"{wheel}[cpu]"])
    listed = json.loads(_call([python, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]))
    names = sorted(each["name"] for each in listed if each["name"] not in OWN)
    site = next((folder / "lean/lib").glob("python*/site-packages"))
    files = [path for path in site.rglob("*") if path.is_file() and not path.is_symlink()]
    ours = [path for path in files if path.relative_to(site).parts[0].split("-")[0] not in {*OWN, "_distutils_hack"}]
    megabytes = sum(path.stat().st_size for path in ours) / 1e6
    return python, {"runtime_packages": len(names), "runtime_mb": round(megabytes, 1), "runtime_names": names}


def start_up(python: Path, folder: Path, model: Path, checkpoint: Path, rounds: int) -> dict[str, Any]:
    """`srfoundry upscale` of a small image, whole process."""
    low = folder / "small.png"
    images.write(photograph(SMALL, SMALL), low)
    arguments = ["upscale", low, "--out", folder / "small_x2.png", "--overwrite", "--model"]
    runs = {
        "lean": [python, "-c", PEAK, *arguments, model],
        "torch_imported": [sys.executable, "-c", FORMER, *arguments, model],
        "pytorch": [sys.executable, "-c", PEAK, *arguments, checkpoint],
    }
    took = _in_turns(runs, rounds)
    seconds = {name: statistics.median(each.seconds for each in every) for name, every in took.items()}
    return {
        "startup_seconds": round(seconds["lean"], 3),
        "startup_speedup": round(seconds["torch_imported"] / seconds["lean"], 2),
        "startup_speedup_over_pytorch": round(seconds["pytorch"] / seconds["lean"], 2),
        "startup": {name: _spread(every) for name, every in took.items()},
    }


def large_photograph(python: Path, folder: Path, model: Path, rounds: int) -> dict[str, Any]:
    """4 megapixels with one thread: the program against the plain loop, in seconds of the processor."""
    low, session = folder / "large.png", Session(model, threads=1, device="cpu")
    images.write(photograph(SIDE, SIDE), low)
    grid = tiling.fit(SIDE, SIDE, session.card.tile, session.card.overlap)
    told = [model, low, folder / "plain.png", formats.PNG_LEVEL, session.scale]
    told += [grid.rows, grid.columns, grid.tall, grid.wide]
    program = ["upscale", low, "--out", folder / "x2.png", "--overwrite", "--threads", "1", "--model", model]
    runs = {
        "program": [python, "-c", PEAK, *program],
        "plain_loop": [python, "-c", PLAIN, *(json.dumps(each, default=str) for each in told)],
    }
    took = _in_turns(runs, rounds)
    processor = {name: statistics.median(each.processor for each in every) for name, every in took.items()}
    return {
        "over_plain_loop": round(processor["program"] / processor["plain_loop"], 3),
        "memory_mb_4mp": round(max(each.peak for each in took["program"]) * 2**20 / 1e6),
        "large": {name: _spread(every) for name, every in took.items()},
        "large_tiles": grid.count,
    }


def _in_turns(runs: Mapping[str, Sequence[Any]], rounds: int) -> dict[str, list[Took]]:
    """Each once untimed (files come into memory, .pyc are written), then in turns A B, B A."""
    took: dict[str, list[Took]] = {name: [] for name in runs}
    for command in runs.values():
        _run(command)
    for turn in range(rounds):
        for name in list(runs)[:: 1 if turn % 2 == 0 else -1]:
            took[name].append(_run(runs[name]))
    return took


def _run(command: Sequence[Any]) -> Took:
    """A process whose last word on standard error is its peak in MiB."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if not str(command[0]).startswith(sys.prefix):
        environment.pop("PYTHONPATH", None)  # the wheel's code, not this folder's
    began = time.perf_counter()
    with subprocess.Popen(
        list(map(str, command)), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        taken = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise FoundryError(f"a measured process failed: {said.strip()[-300:]}; run `make repro` first")
    return Took(taken, usage.ru_utime + usage.ru_stime, int(said.split()[-1]))


def _spread(every: Sequence[Took]) -> dict[str, Any]:
    seconds, processor = [each.seconds for each in every], [each.processor for each in every]
    return {
        "seconds": round(statistics.median(seconds), 3),
        "seconds_range": [round(min(seconds), 3), round(max(seconds), 3)],
        "processor_seconds": round(statistics.median(processor), 3),
        "processor_range": [round(min(processor), 3), round(max(processor), 3)],
        "peak_MiB": max(each.peak for each in every),
    }


def _call(command: Sequence[Any]) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise FoundryError(f"{' '.join(map(str, command[1:5]))} failed: {done.stderr.strip()[-300:]}")
    return done.stdout

"""The parts of the course of `benchmarks.gpu`: each is a function of a folder and a device, and runs by itself.

python -m benchmarks._gpu_parts PART FOLDER DEVICE     runs one there, and prints its figures as one line of JSON
"""

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from srfoundry.core.errors import FoundryError
from srfoundry.degradation.kernel_families import FAMILIES

REPO = Path(__file__).resolve().parent.parent
Changes = Mapping[str, Mapping[str, Any]]
Part = Callable[[Path, str], dict[str, Any]]

STAGES = [
    *["synthesize", "pretrain", "metatrain", "dual", "search", "prune", "compress@50", "compress@70"],
    *["photo", "photo_compress@50", "nonblind", "estimate", "evaluate", "export", "diffuse", "beamform"],
]
SMALL: dict[str, dict[str, Any]] = {  # steps alone: nets, patches and batches are the repository's
    "pretrain": {"steps": 50},
    "metatrain": {"warmup_steps": 50, "steps": 5},
    "dual": {"steps": 200},
    "search": {"steps": 40, "tolerance": 0.2},
    "prune": {"steps": 50},
    "compress": {"search_steps": 30, "steps": 30},
    "photo": {"steps": 50},
    "photo_compress": {"search_steps": 30, "steps": 30},
    "nonblind": {"steps": 20, "samples": 400, "corrector_steps": 100},
    "estimate": {"iterations": 3},
    "diffuse": {"steps": 50},
    "beamform": {"instances": 4, "steps": 20, "restarts": 2},
}
LEAST: dict[str, dict[str, Any]] = {  # beside these: what a CPU does in seconds
    "synthesize": {"source": "folder", "held_out": ["coffee"], "validation": ["rocket"], "smallest": 64}
    | {"bank": dict.fromkeys(FAMILIES, 1) | {"gaussian": 2}},
    "pretrain": {"width": 8, "depth": 3, "patch": 32, "batch": 2, "steps": 3},
    "metatrain": {"warmup_steps": 2, "warmup_patch": 32, "warmup_batch": 2, "steps": 2, "tasks": 2},
    "dual": {"width": 8, "blocks": 1, "patch": 32, "batch": 2, "steps": 3, "warmup": 1},
    "search": {"patch": 32, "batch": 2, "steps": 2, "multiple": 4},
    "prune": {"patch": 32, "batch": 2, "steps": 2, "warmup": 1},
    "compress": {"search_steps": 2, "steps": 2, "multiple": 1},
    "photo": {"width": 8, "blocks": 1, "patch": 32, "batch": 2, "steps": 3},
    "photo_compress": {"search_steps": 2, "steps": 2},
    "nonblind": {"widths": [4] * 4, "blocks": 1, "patch": 32, "batch": 2, "steps": 2, "warmup": 1, "samples": 40}
    | {"sample_patch": 32, "corrector_steps": 2},
    "estimate": {"iterations": 2, "draws": 8, "image_steps": 1, "kernel_steps": 1, "width": 4, "levels": 2}
    | {"window": 32, "look": 32},
    "evaluate": {"tile": 48, "real": "inputs/unpaired"},
    "diffuse": {"widths": [8, 16], "patch": 16, "batch": 2, "steps": 2, "warmup": 1},
    "beamform": {"users": 2, "antennas": 2, "instances": 1, "snr": [10.0], "steps": 2, "iterations": 2, "restarts": 2},
    "export": {"sizes": [[16, 24], [9, 7]]},
}
SIDE = 96  # pixels a side of the photographs on a CPU
EXACT, HALF = 1e-4, 1e-2  # how far an ONNX provider may be from the CPU's: float32, and half precision


def prepare(folder: Path, device: str) -> None:
    """A project's folder for the course: code by links, and on a CPU four small photographs."""
    from srfoundry.imaging import images

    for name in ("src", "pipelines"):
        (folder / name).symlink_to(REPO / name)
    shutil.copy(REPO / "dvc.yaml", folder)
    shutil.copytree(REPO / "graphs", folder / "graphs")
    for name in ("photographs", "kernels", "unpaired"):
        (folder / "inputs" / name).mkdir(parents=True)
    if device == "cpu":
        for path in images.bundled():
            if path.stem in ("coffee", "rocket", "china", "ihc"):
                cut = images.read(path)[..., 100 : 100 + SIDE, 150 : 150 + SIDE]
                images.write(cut, folder / f"inputs/photographs/{path.stem}.png")
                images.write(cut[..., :32, :32], folder / "inputs/unpaired/low.png")
    versions = folder / "runs/course/results/environment/versions.json"
    versions.parent.mkdir(parents=True)
    versions.write_text("{}")


def stage(name: str, folder: Path, device: str, changes: Changes | None = None) -> dict[str, Any]:
    """A stage's function on a small budget, PyTorch's deterministic algorithms in warning mode.

    Returns:
        Its key figures, the operations that have no deterministic form, and the most memory that tensors took.
    """
    import torch
    from ruamel.yaml import YAML

    from pipelines.support.graph import section_of
    from pipelines.support.place import Place
    from pipelines.support.stage import Stage
    from srfoundry.config import params
    from srfoundry.core.compute import settle

    values = YAML(typ="safe").load((REPO / "params.yaml").read_text())
    for each in (SMALL, LEAST if device == "cpu" else {}, {"shared": {"device": device}}, changes or {}):
        for section, some in each.items():
            values[section] |= some
    file = folder / "params.yaml"
    with file.open("w") as target:
        YAML().dump(values, target)
    made = Stage(name, folder, params.check(values, str(file)), Place(folder, file, folder / "runs/course"))
    made.__dict__["digests"] = {"data/synthesize": 32 * "0"}
    settle(values["shared"]["threads"], values["shared"]["precision"], made.device)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        torch.use_deterministic_algorithms(True, warn_only=True)
    section = section_of(name)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        getattr(importlib.import_module(f"pipelines.{section}"), section)(made)
    without = {str(each.message).split(" does not have a deterministic")[0] for each in said if "determin" in str(each)}
    peak = None if device == "cpu" else torch.cuda.max_memory_allocated()
    return {"not_deterministic": sorted(without), "peak_bytes": peak}


def same_bytes(folder: Path, device: str) -> dict[str, Any]:
    """The stage dual once more: whether its model is the same, byte for byte.

    Raises:
        FoundryError: it is another.
    """
    model = folder / "runs/course/models/dual.safetensors"
    before = blake2b(model.read_bytes()).hexdigest()
    stage("dual", folder, device)
    if blake2b(model.read_bytes()).hexdigest() != before:
        raise FoundryError("two runs of dual must give the same bytes, got two models; look at not_deterministic")
    return {"different_bytes": 0}


def onnx(folder: Path, device: str) -> dict[str, Any]:
    """Every exported file on ONNX Runtime's provider of the device against the CPU's, and its speed.

    Raises:
        FoundryError: a file's pixels differ by more than EXACT (HALF for fp16), or the provider does not start.
    """
    from srfoundry.runtime.session import Session

    exports, found, wrong = folder / "runs/course/exports", dict[str, Any](), []
    for path in (*sorted(exports.glob("*.onnx")), *sorted(exports.glob("fp16/*.onnx"))):
        there, here = Session(path, threads=1, device=device), Session(path, threads=1, device="cpu")
        low = np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)
        off = float(np.abs(there.run(low) - here.run(low)).max())
        large = np.random.default_rng(1).random((1, 3, *(2 * [64 if device == "cpu" else 512])), dtype=np.float32)
        there.run(large)
        began = time.perf_counter()
        there.run(large)
        seconds = time.perf_counter() - began
        name = path.relative_to(exports).as_posix()
        found[name] = {"off": off, "megapixels_a_second": round(large[0, 0].size / 1e6 / seconds, 3)}
        if off > (HALF if "fp16" in name else EXACT):
            wrong.append(f"{name} by {off:.2g}")
    if wrong:
        raise FoundryError(f"files must give the CPU's pixels within {EXACT:g} ({HALF:g} in fp16), got {wrong}")
    return found


def server(folder: Path, device: str) -> dict[str, Any]:
    """`srfoundry serve` with the exported files on the device: one photograph there and back.

    Raises:
        FoundryError: it does not start, or does not answer with a PNG.
    """
    import io
    import socket

    from PIL import Image

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    image = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(image, "PNG")
    command = [sys.executable, "-m", "srfoundry.cli.program", "serve", "--port", str(port), "--device", device]
    running = subprocess.Popen([*command, "--models", str(folder / "runs/course/exports")], cwd=folder)
    try:
        url = f"http://127.0.0.1:{port}/v1/upscale"
        began = time.monotonic()
        while True:
            try:
                with urllib.request.urlopen(urllib.request.Request(url, data=image.getvalue()), timeout=60) as answer:
                    return {"seconds_to_first_answer": round(time.monotonic() - began, 1), "bytes": len(answer.read())}
            except OSError as error:
                if running.poll() is not None or time.monotonic() - began > 120:
                    raise FoundryError(f"the server must answer at {url} within 120 s, got {error}") from None
                time.sleep(0.5)
    finally:
        running.terminate()
        running.wait(30)


def trainstep(folder: Path, device: str) -> dict[str, Any]:
    """The row of benchmarks.trainstep on this device; its results file is left alone."""
    from unittest import mock

    from benchmarks import table
    from benchmarks import trainstep as benchmark

    few = ["--steps", "4", "--rounds", "2", "--blocks", "1"] if device == "cpu" else ["--steps", "60", "--rounds", "10"]
    with mock.patch.object(table, "RESULTS", folder), mock.patch.object(sys, "argv", ["trainstep", *few]):
        benchmark.main()
    return json.loads((folder / "trainstep.json").read_text())


def _stages(names: list[str], changes: Changes, folder: Path, device: str) -> dict[str, Any]:
    return {name: stage(name, folder, device, changes) for name in names}


PARTS: dict[str, Part] = {
    **{name: partial(stage, name) for name in STAGES},
    "bfloat16": partial(
        _stages, ["dual", "search", "prune", "photo", "nonblind"], {"shared": {"precision": "bfloat16"}}
    ),
    "same_bytes": lambda folder, device: (stage("dual", folder, device), same_bytes(folder, device))[1],
    "cuda_graph": partial(_stages, ["estimate"], {"estimate": {"method": "dkp", "capture": "graph"}}),
    "compile": partial(_stages, ["estimate"], {"estimate": {"method": "dkp", "capture": "compile"}}),
    "mlmc": partial(_stages, ["estimate"], {"estimate": {"method": "mlmc"}}),
    "edsr": partial(_stages, ["dual"], {"dual": {"network": "edsr"}}),
    "swinir": partial(_stages, ["dual"], {"dual": {"network": "swinir", "width": 12}}),
    "onnx": onnx,
    "server": server,
    "trainstep": trainstep,
}


def main() -> None:
    """Run one part and print its figures."""
    name, folder, device = sys.argv[1:]
    os.chdir(folder)
    try:
        figures = PARTS[name](Path(folder), device)
    except FoundryError as error:
        sys.exit(f"error: {error}")
    sys.stdout.write("\n" + json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()

"""Doors: a registered model through MLflow itself, and the images, built and run without Docker (root, Linux).

Needs the extras ui and dev, and `make repro` before. `container_*` takes minutes: packages are installed anew.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import _container_trial
from srfoundry.core.errors import FoundryError

EXPORTS = Path(os.environ.get("SRFOUNDRY_EXPORTS", "exports"))
REPO = Path(__file__).resolve().parent.parent
SIDE, RUNS = 2000, 3  # pixels a side of the large image; loads that are timed
LOADED = """
import json, resource, sys, time
import mlflow, numpy
blocked = sys.argv[2].split(",")
sys.modules.update(dict.fromkeys(blocked))  # as if they were not installed
began = time.process_time()
model = mlflow.pyfunc.load_model(sys.argv[1], model_config={"threads": 1, "device": "cpu"})
small = model.predict(numpy.zeros((64, 64, 3), numpy.uint8))
found = {"load_seconds": time.process_time() - began, "shape": small.shape}
if sys.argv[3] != "0":
    pixels = numpy.random.default_rng(0).integers(0, 256, (int(sys.argv[3]),) * 2 + (3,), numpy.uint8)
    began = time.process_time()
    found["shape"] = model.predict(pixels).shape
    found["seconds"] = time.process_time() - began
found["mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
print(json.dumps(found))
"""
DIRECT = """
import json, sys, time
import numpy
from srfoundry.runtime.upscaler import Upscaler
upscaler = Upscaler.load(sys.argv[1], threads=1, device="cpu")
pixels = numpy.random.default_rng(0).integers(0, 256, (int(sys.argv[2]),) * 2 + (3,), numpy.uint8)
began = time.process_time()
upscaler(pixels)
print(json.dumps({"seconds": time.process_time() - began}))
"""


def figures() -> dict[str, Any]:
    """Loading, memory and time of the pyfunc flavour; size, start and confinement of the images."""
    if not (EXPORTS / "pruned.onnx").is_file():
        raise FoundryError(f"{EXPORTS} holds no pruned.onnx; run: make repro")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        found = _pyfunc(Path(folder))
        return found | _container_trial.trial(Path(folder) / "images", EXPORTS.absolute())


def _pyfunc(folder: Path) -> dict[str, Any]:
    variables = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    program = ["-m", "srfoundry.cli.program", "register", "--exports", str(EXPORTS.absolute())]
    _call(program, {**variables, "PWD": str(folder)})
    address, absent = "models:/srfoundry@champion", "srfoundry,torch,onnx"
    loads = [_asked(LOADED, [address, absent, "0"], variables) for _ in range(RUNS)]
    large = _asked(LOADED, [address, absent, str(SIDE)], variables)
    direct = _asked(DIRECT, [str(EXPORTS / "pruned.onnx"), str(SIDE)], variables)
    dockerfile = folder / "dockerfile"
    _call(
        [
            "-m",
            "mlflow",
            "models",
            "generate-dockerfile",
            "-m",
            address,
            "-d",
            str(dockerfile),
            "--env-manager",
            "local",
        ],
        variables,
    )
    requirements = next((dockerfile / "model_dir").rglob("requirements.txt"))
    uv = [sys.executable, "-m", "uv", "pip", "compile", "-q", str(requirements), "-o", str(folder / "resolved.txt")]
    resolved = subprocess.run(uv, capture_output=True, text=True).returncode == 0
    return {
        "pyfunc_load_seconds": round(min(each["load_seconds"] for each in loads), 2),
        "pyfunc_load_seconds_median": round(statistics.median(each["load_seconds"] for each in loads), 2),
        "pyfunc_without_srfoundry": large["shape"] == [2 * SIDE, 2 * SIDE, 3],
        "pyfunc_2000_mb": round(large["mb"]),
        "pyfunc_2000_mb_beyond_small": round(large["mb"] - loads[0]["mb"]),
        "pyfunc_2000_seconds": round(large["seconds"], 2),
        "pyfunc_over_upscaler": round(large["seconds"] / direct["seconds"], 3),
        "pyfunc_requirements_resolve": resolved,
        "pyfunc_dockerfile_base": (dockerfile / "Dockerfile").read_text().split("FROM ", 1)[1].split()[0],
    }


def _asked(program: str, words: list[str], variables: dict[str, str]) -> dict[str, Any]:
    return json.loads(_call(["-c", program, *words], variables).splitlines()[-1])


def _call(words: list[str], variables: dict[str, str]) -> str:
    done = subprocess.run([sys.executable, *words], cwd=REPO, env=variables, text=True, capture_output=True)
    if done.returncode:
        raise FoundryError(f"{' '.join(words)[:120]} ends with {done.returncode}: {done.stderr[-800:]}")
    return done.stdout

"""The family in other programs' runtimes: for each the largest difference from ONNX Runtime, image range [0, 1].

Every runtime stands in an environment of its own under .bench/foreign, made with pip and kept; one that cannot be
installed is said in words and the others go on. ncnn is measured where `srfoundry[ncnn]` is installed, on Vulkan where
there is a device (Debian's mesa-vulkan-drivers bring one in software), spandrel with networks that were never trained.
"""

import importlib
import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from srfoundry.core.errors import FoundryError
from srfoundry.deployment.foreign import conversion, ncnn_files, onnx_rules
from srfoundry.deployment.foreign.programs import PROGRAMS
from srfoundry.imaging.patches import Patches
from srfoundry.runtime.session import Session

EXPORTS = Path("exports")
PLACE = Path(".bench/foreign")
HERE = Path(__file__).parent
SIZES = ((64, 64), (37, 53), (257, 129))
RUNTIMES = {  # name of a figure -> what _elsewhere.py runs, and what pip installs for it
    "onnxruntime_1_17": ("onnxruntime", ["onnxruntime==1.17.*", "numpy<2"]),
    "opencv_4": ("opencv", ["opencv-python-headless>=4.12,<5"]),
    "opencv_5": ("opencv", ["opencv-python-headless>=5,<6"]),
    "openvino": ("openvino", ["openvino", "onnxruntime"]),
    "triton": ("triton", ["tritonclient", "protobuf"]),
}
STUB = "class InterpolationMode:\n    BILINEAR = NEAREST = 0\n\n\nrotate = normalize = None\n"


def figures() -> dict[str, Any]:
    """Each program's largest difference, or why there is none."""
    models = [path for path in sorted(EXPORTS.glob("*.onnx")) if Session(path, threads=1, device="cpu").card]
    if not models:
        raise FoundryError(f"there must be models in {EXPORTS}/, got none; run `make repro`")
    found: dict[str, Any] = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        _examples(models, folder)
        for figure, (runtime, packages) in RUNTIMES.items():
            found |= _flat(figure, _tried(lambda r=runtime, f=figure, p=packages: _elsewhere(r, f, p, folder)))
    found |= {"foreign_chainner": all(not onnx_rules.check(path.read_bytes(), _scale(path)) for path in models)}
    found |= _flat("vs_mlrt", _tried(lambda: _converted("chainner", models)))
    found |= _flat("ncnn", _tried(lambda: _ncnn(models)))
    found |= _flat("upscayl", _tried(lambda: _upscayl(models[0])))
    return found | _flat("spandrel", _tried(_spandrel))


def _scale(path: Path) -> int:
    return conversion.open_session(path).scale


def _examples(models: list[Path], folder: Path) -> None:
    """The files, images and ONNX Runtime's results, and Triton's configurations."""
    for path in models:
        session = conversion.open_session(path)
        (folder / path.name).write_bytes(path.read_bytes())
        for height, width in SIZES:
            low = np.random.default_rng(height).random((1, 3, height, width), np.float32)
            np.savez(folder / f"{path.stem}.{height}.npz", low=low, restored=session.run(low))
        for name, blob in PROGRAMS["triton"].run(path).files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(blob)


def _tried(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a check gives, or a line about what kept it from running."""
    try:
        return call()
    except (FoundryError, ModuleNotFoundError) as error:
        return {"": str(error)}


def _flat(figure: str, values: dict[str, Any]) -> dict[str, Any]:
    names = {"difference": "", "reads": ""}
    return {f"foreign_{figure}_{names.get(name, name)}".rstrip("_"): value for name, value in values.items()}


def _run(command: list[str | Path], **options: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200, **options)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or [""]
        raise FoundryError(f"{Path(command[0]).name} {command[-1]}: {last[0][:200]}")
    return done.stdout


def _elsewhere(runtime: str, name: str, packages: list[str], folder: Path) -> dict[str, Any]:
    """What `_elsewhere.py` says in an environment with these packages."""
    place = PLACE / name
    python, ready = place / "bin" / "python", place / "ready"
    if not ready.exists():
        venv.create(place, with_pip=True, clear=True)
        _run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages])
        ready.touch()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    return json.loads(_run([python, HERE / "_elsewhere.py", runtime, folder], env=environment).splitlines()[-1])


def _converted(program: str, models: list[Path]) -> dict[str, Any]:
    differences = [PROGRAMS[program].run(path).difference for path in models]
    return {"difference": max(each for each in differences if each is not None)}


def _ncnn(models: list[Path]) -> dict[str, Any]:
    """On the CPU in 32 and 16 bits, and on Vulkan."""
    ncnn: Any = importlib.import_module("ncnn")
    ways: dict[str, dict[str, bool]] = {"difference": {}, "half": {"half": True}}
    if ncnn.get_gpu_count():
        ways |= {"vulkan": {"vulkan": True}, "vulkan_half": {"vulkan": True, "half": True}}
    worst = dict.fromkeys(ways, 0.0)
    for path in models:
        session = conversion.open_session(path)
        param, weights = PROGRAMS["ncnn"].run(path).files.values()
        worst = {
            name: max(worst[name], ncnn_files.measure(param, weights, session, **way)) for name, way in ways.items()
        }
    return worst if ncnn.get_gpu_count() else {**worst, "vulkan": "no Vulkan device"}


def _upscayl(model: Path) -> dict[str, Any]:
    """PSNR of what upscayl makes of photographs to ONNX Runtime's result of the whole image, the worst in dB.

    It runs tiles of 200 pixels with 10 more on each side, which it cuts off again, in 16 bits.
    """
    ways = {
        "tiles_db": lambda session, run: lambda low: _in_tiles(session.run, low, session.scale),
        "half_db": lambda session, run: run,
        "both_db": lambda session, run: lambda low: _in_tiles(run, low, session.scale),
    }
    worst, vulkan = dict.fromkeys(ways, float("inf")), bool(importlib.import_module("ncnn").get_gpu_count())
    photographs = Patches.open(Path("data/synthesize/validation"))
    lows = [photographs.image(name).numpy() for name in photographs.photographs()]
    session = conversion.open_session(model)
    param, weights = PROGRAMS["ncnn"].run(model).files.values()
    run = ncnn_files.runner(param, weights, vulkan=vulkan, half=True)
    for low in lows:
        whole = session.run(low)
        for name, way in ways.items():
            error = float(np.square(way(session, run)(low) - whole, dtype=np.float64).mean())
            worst[name] = min(worst[name], -10 * float(np.log10(max(error, 1e-20))))
    return {name: round(value, 1) for name, value in worst.items()}


def _in_tiles(run: conversion.Run, low: np.ndarray, scale: int, tile: int = 200, margin: int = 10) -> np.ndarray:
    """As upscayl cuts an image, with edges repeated outside of it."""
    height, width = low.shape[2:]
    wide = np.pad(low, ((0, 0), (0, 0), (margin, margin), (margin, margin)), mode="edge")
    found = np.empty((1, low.shape[1], height * scale, width * scale), np.float32)
    inner = slice(margin * scale, -margin * scale)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            rows, columns = min(tile, height - top), min(tile, width - left)
            part = run(
                np.ascontiguousarray(wide[:, :, top : top + rows + 2 * margin, left : left + columns + 2 * margin])
            )
            place = slice(top * scale, (top + rows) * scale), slice(left * scale, (left + columns) * scale)
            found[:, :, *place] = part[:, :, inner, inner]
    return found


def _spandrel() -> dict[str, Any]:
    """A SwinIR-light under its authors' names, and, with our architectures added, a DRN as it is.

    spandrel wants torchvision for two networks that are not ours; this needs no more than that it can be imported.
    """
    place = PLACE / "spandrel"
    if not (place / "ready").exists():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--upgrade"]
        _run([*pip, "--target", place, "spandrel", "einops"])
        stub = place / "torchvision" / "transforms"
        stub.mkdir(parents=True, exist_ok=True)
        for path, text in ((stub.parent, ""), (stub, "")):
            (path / "__init__.py").write_text(text)
        (stub / "functional.py").write_text(STUB)
        (place / "ready").touch()
    paths = [os.environ.get("PYTHONPATH", ""), str(HERE.parent / "src"), str(place)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    return json.loads(_run([sys.executable, "-W", "ignore", "-c", PROBE], env=environment).splitlines()[-1])


PROBE = """
import json, torch, spandrel
from srfoundry.deployment.foreign import spandrel_file, spandrel_plugin
from srfoundry.networks.published_weights import to_authors
from srfoundry.networks.zoo import cards
from srfoundry.networks.zoo.architectures import build
torch.manual_seed(0)
found = {}
spandrel.MAIN_REGISTRY.add(*spandrel_plugin.support())
for name, arch in (
    ("swinir", {"name": "swinir", "scale": 2}),
    ("drn", {"name": "drn", "scale": 2, "blocks": 3, "width": 16, "inner": [12, 16, 32, 20, 16]}),
):
    net = build(arch).eval()
    state = to_authors(net, arch) if name == "swinir" else net.state_dict()
    card = cards.Card(arch, 2, getattr(net, "multiple_of", 1), "", "", {})
    found[name] = spandrel_file.measure(state, net, card)
print(json.dumps(found))
"""

"""ncnn's .param and .bin, which upscayl and realesrgan-ncnn-vulkan run on any GPU with Vulkan; pnnx converts.

Both programs require a folder called `models` and inputs and outputs called `data` and `output`; upscayl reads the
scale off the file's name. They keep numbers in 16 bits, which is the card's doing and not the file's.
"""

import importlib.util
import os
import subprocess
import tempfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from srfoundry.core.errors import FoundryError
from srfoundry.deployment.foreign.conversion import (
    REDUCED,
    Converted,
    Run,
    demand,
    difference,
    image_alone,
    open_session,
)
from srfoundry.runtime.session import OnnxCard, Session

TOLERANCE = 1e-3
TRACED = 72  # rows and columns that pnnx is given; the files take any
LIMIT = 300  # seconds that pnnx may take; it takes one
BLOBS = {"in0": "data", "out0": "output"}  # pnnx's names, and those that the programs ask for
SCALES = (1, 2, 3, 4, 8, 16)  # in the order in which upscayl looks for them in a name


def convert(model: Path) -> Converted:
    """The two files, compared in ncnn on the CPU where Python's `ncnn` is installed.

    Raises:
        FoundryError: pnnx cannot convert the network, ncnn's numbers differ, or upscayl would read another scale.
        ModuleNotFoundError: pnnx is not installed.
    """
    session = open_session(model)
    if session.card.precision in REDUCED:
        raise FoundryError(
            f"ncnn takes a model in fp32, got {session.card.precision} in {model}; take the one that it was made from: "
            "these programs keep numbers in 16 bits anyway"
        )
    name = f"{model.stem}-x{session.scale}"
    if (read := scale_in(name)) != session.scale:
        raise FoundryError(
            f"upscayl would take {name} for a model that enlarges x{read}, it is x{session.scale}; "
            f"rename {model} so that no other scale stands in its name"
        )
    with tempfile.TemporaryDirectory() as folder:
        param, weights = _pnnx(model, session.card, Path(folder))
    files = {f"models/{name}.param": param, f"models/{name}.bin": weights}
    if importlib.util.find_spec("ncnn") is None:
        return Converted(files, None, "not compared: pip install 'srfoundry[ncnn]' brings ncnn")
    worst = _measured_apart(model, param, weights)
    demand(worst, TOLERANCE, "ncnn")
    return Converted(files, worst, "ncnn on the CPU, float32")


def _measured_apart(model: Path, param: bytes, weights: bytes) -> float:
    """`measure` in a process of its own: of sizes that do not fit, ncnn dies without a word."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        try:
            return apart.submit(_measure, model, param, weights).result()
        except BrokenProcessPool:
            raise FoundryError(
                f"ncnn must run what pnnx made of {model}, and crashes; nothing was written: try another pnnx and ncnn"
            ) from None


def _measure(model: Path, param: bytes, weights: bytes) -> float:
    return measure(param, weights, open_session(model))


def scale_in(name: str) -> int:
    """The scale that upscayl reads off a model's name: the first of SCALES that stands in it; 4 without one."""
    return next((scale for scale in SCALES if f"x{scale}" in name or f"{scale}x" in name), 4)


def measure(param: bytes, weights: bytes, session: Session, *, vulkan: bool = False, half: bool = False) -> float:
    """The largest |ncnn - ONNX Runtime|.

    Args:
        param: the .param file.
        weights: the .bin file.
        session: the model that they were made from.
        vulkan: on the first Vulkan device instead of the CPU.
        half: numbers kept in 16 bits between layers, as upscayl does it.
    """
    return difference(session, runner(param, weights, vulkan=vulkan, half=half))


def runner(param: bytes, weights: bytes, *, vulkan: bool = False, half: bool = False) -> Run:
    """ncnn with these files, as a function from image to image; arguments as of `measure`.

    Raises:
        FoundryError: ncnn cannot read or run them.
    """
    import ncnn as unstubbed

    ncnn: Any = unstubbed  # its stubs leave its classes out
    net = ncnn.Net()
    net.opt.use_vulkan_compute = vulkan
    net.opt.num_threads = 1
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = half
    net.opt.use_fp16_arithmetic = False
    with tempfile.TemporaryDirectory() as folder:  # ncnn reads files
        paths = Path(folder) / "model.param", Path(folder) / "model.bin"
        for path, blob in zip(paths, (param, weights), strict=True):
            path.write_bytes(blob)
        if net.load_param(str(paths[0])) or net.load_model(str(paths[1])):
            raise FoundryError(
                "ncnn must read what pnnx wrote, and cannot; install the two of one release (numbered by date)"
            )

    def run(low: np.ndarray) -> np.ndarray:
        extractor = net.create_extractor()
        extractor.input("data", ncnn.Mat(low[0]).clone())
        failed, found = extractor.extract("output")
        if failed:
            raise FoundryError(f"ncnn must give an image, got its error {failed}; see what pnnx says of the model")
        return np.array(found)[None]

    return run


def _pnnx(model: Path, card: OnnxCard, folder: Path) -> tuple[bytes, bytes]:
    """The .param, with the names that the programs require, and the .bin."""
    found = importlib.util.find_spec("pnnx")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'pnnx'", name="pnnx")
    program = Path(found.submodule_search_locations[0]) / "pnnx"  # its Python side would import PyTorch
    source = folder / "model.onnx"
    source.write_bytes(image_alone(model.read_bytes()))
    # of one size: of two it takes height and width as unknown, and then drops slices between unknown sizes as idle
    size = f"inputshape=[1,{card.channels},{TRACED},{TRACED}]"
    try:
        done = subprocess.run(
            [program, source, size, "fp16=0"],
            cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=LIMIT,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FoundryError(f"pnnx could not run: {error}; try it by hand: {program}") from None
    written = [folder / f"model.ncnn.{ending}" for ending in ("param", "bin")]
    if done.returncode or not all(path.exists() for path in written):
        arch = card.arch.get("name")
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or [f"exit {done.returncode}"]
        raise FoundryError(
            f"pnnx must convert this network, got {last[0].strip()!r} for {arch}; "
            "DRN, EDSR and conditioned convert, SwinIR does not"
        )
    text = written[0].read_text()
    # what pnnx finds no layer of ncnn for, it leaves under PyTorch's name
    left = {word for word in (line.split(" ")[0] for line in text.splitlines()) if "." in word or "::" in word}
    if left:
        raise FoundryError(
            f"ncnn must have a layer for all that is in {card.name}, got none for {', '.join(sorted(left))}; "
            "DRN, EDSR and conditioned convert, SwinIR does not"
        )
    return _renamed(text).encode(), written[1].read_bytes()


def _renamed(param: str) -> str:
    """The .param with the names of input and output that the programs ask for; words are blob names or layers'."""
    lines = [line.split(" ") for line in param.splitlines()]
    return "".join(" ".join(BLOBS.get(word, word) for word in words) + "\n" for words in lines)

"""Run by the Python of another environment: exported files in its runtime against ONNX Runtime's results.

python benchmarks/_elsewhere.py RUNTIME FOLDER

FOLDER holds MODEL.onnx and, for each size, MODEL.SIZE.npz with `low` and `restored`. Printed is one line of JSON. Only
what such an environment has is imported: NumPy and the runtime.
"""

import importlib
import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROUNDS = 5


def _examples(model: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    found = [np.load(path) for path in sorted(model.parent.glob(f"{model.stem}.*.npz"))]
    return [(each["low"], each["restored"]) for each in found]


def _worst(folder: Path, load: Any) -> float:
    """The largest difference over all files and sizes; `load` gives a function from image to image."""
    apart: list[float] = []
    for model in sorted(folder.glob("*.onnx")):
        run = load(model)
        apart += [float(np.abs(run(low) - restored).max()) for low, restored in _examples(model)]
    return float(np.max(apart))  # NaN where one is, as Python's max is not


def _seconds(call: Any) -> float:
    """Processor seconds of a call, the least of several: what else the machine does is left out."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        call()
        found.append(time.process_time() - began)
    return min(found)


def _onnxruntime() -> Any:
    onnxruntime = importlib.import_module("onnxruntime")

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1

    def load(model: Path) -> Any:
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda low: session.run(None, {name: low})[0]

    return load


def onnxruntime(folder: Path) -> dict[str, Any]:
    """Any ONNX Runtime: the files load, and give the same numbers."""
    onnxruntime = importlib.import_module("onnxruntime")

    return {"version": onnxruntime.__version__, "difference": _worst(folder, _onnxruntime())}


def opencv(folder: Path) -> dict[str, Any]:
    """OpenCV's DNN, each engine that it has."""
    cv2 = importlib.import_module("cv2")

    def load(engine: int | None) -> Any:
        def with_engine(model: Path) -> Any:
            net = cv2.dnn.readNetFromONNX(str(model), *([] if engine is None else [engine]))

            def run(low: np.ndarray) -> np.ndarray:
                net.setInput(low)
                return net.forward()

            return run

        return with_engine

    engines: dict[str, Any] = {
        name: getattr(cv2.dnn, name) for name in ("ENGINE_NEW", "ENGINE_CLASSIC") if hasattr(cv2.dnn, name)
    } or {"only": None}
    found = {name: _worst(folder, load(engine)) for name, engine in engines.items()}
    return {"version": cv2.__version__, "difference": max(found.values()), "engines": found}


def openvino(folder: Path) -> dict[str, Any]:
    """OpenVINO: numbers, and its time over ONNX Runtime's on one thread, median and spread over the files."""
    openvino = importlib.import_module("openvino")

    core = openvino.Core()
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}

    def load(model: Path) -> Any:
        compiled = core.compile_model(str(model), "CPU", hints)
        return lambda low: compiled([low])[0]

    low = np.random.default_rng(0).random((1, 3, 256, 256), np.float32)
    ratios, peer = [], _onnxruntime()
    for model in sorted(folder.glob("*.onnx")):
        ours, theirs = peer(model), load(model)
        ours(low), theirs(low)
        ratios.append(_seconds(lambda run=theirs: run(low)) / _seconds(lambda run=ours: run(low)))
    return {
        "version": openvino.__version__,
        "difference": _worst(folder, load),
        "time": float(np.median(ratios)),
        "times": [round(ratio, 3) for ratio in sorted(ratios)],
    }


def triton(folder: Path) -> dict[str, Any]:
    """Triton's own schema reads the configuration."""
    text_format = importlib.import_module("google.protobuf.text_format")

    # the file alone: its package would want gRPC
    package = importlib.util.find_spec("tritonclient")
    assert package is not None and package.submodule_search_locations
    path = Path(package.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None and spec.loader is not None
    schema = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(schema)
    configs = sorted(folder.glob("*/config.pbtxt"))
    read = [text_format.Parse(config.read_text(), schema.ModelConfig()) for config in configs]
    return {
        "reads": bool(read) and all(config.name == path.parent.name for config, path in zip(read, configs, strict=True))
    }


if __name__ == "__main__":
    checks = {"onnxruntime": onnxruntime, "opencv": opencv, "openvino": openvino, "triton": triton}
    sys.stdout.write(json.dumps(checks[sys.argv[1]](Path(sys.argv[2]))) + "\n")

"""What runs an exported model: ONNX Runtime's execution providers by the device that a person names."""

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

from srfoundry.core.errors import FoundryError

DEVICES = ("auto", "cpu", "cuda", "tensorrt", "openvino")  # auto: cuda where there is a GPU, else cpu
NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
ADVICE = {  # where a provider is missing or does not start
    "cuda": "install the libraries onnxruntime-gpu names, or use --device cpu",
    "tensorrt": "install srfoundry[gpu] and TensorRT's libraries (pip install tensorrt-cu12 or the version that "
    "onnxruntime-gpu names), or use --device cuda",
    "openvino": "install onnxruntime-openvino in place of onnxruntime (their files have the same names: never both), "
    "or use --device cpu",
}


class NotInstalled(FoundryError):
    """There is no ONNX Runtime."""


def onnxruntime() -> Any:
    """The package.

    Raises:
        NotInstalled: it is not.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise NotInstalled(
            "exported models need ONNX Runtime, which is not installed; pip install 'srfoundry[cpu]', "
            "or for an NVIDIA GPU pip install 'srfoundry[gpu]' (one of the two, never both)"
        ) from None
    return onnxruntime


def chosen(device: str, threads: int) -> list[Any]:
    """The providers to ask for, with their options, the processor last: it runs what the first does not know.

    Args:
        device: one of DEVICES.
        threads: of one run, where the provider counts them by itself.

    Raises:
        FoundryError: ONNX Runtime was built without it, or there is no GPU.
    """
    runtime = onnxruntime()
    built = runtime.get_available_providers()
    if device == "auto":
        device = "cuda" if gpus() and NAMES["cuda"] in built else "cpu"
    if device in ("cuda", "tensorrt") and not gpus():
        raise FoundryError(f"device {device} was asked for, got no GPU that its driver shows; use --device cpu or auto")
    if device == "cpu":
        return [NAMES["cpu"]]
    if device == "openvino" and NAMES["openvino"] not in built:  # the GPU's are found by the attempt
        raise FoundryError(
            f"device openvino was asked for, got an ONNX Runtime that knows {', '.join(built)}; {ADVICE['openvino']}"
        )
    if device != "openvino" and hasattr(runtime, "preload_dlls"):
        runtime.preload_dlls()  # the CUDA libraries that PyTorch's wheels brought along
    return [*_with_options(device, threads), NAMES["cpu"]]


def started(session: Any, device: str) -> str:
    """The device that a session really runs on.

    Raises:
        FoundryError: another one was asked for.
    """
    first = session.get_providers()[0]
    found = next((name for name, provider in NAMES.items() if provider == first), "cpu")
    if device not in ("auto", found):
        what = {"cuda": "CUDA", "tensorrt": "TensorRT", "openvino": "OpenVINO"}.get(device, device)
        raise FoundryError(f"device {device} is wanted but ONNX Runtime could not start {what}; {ADVICE[device]}")
    return found


@cache
def gpus() -> int:
    """How many GPUs NVIDIA's driver shows to this process; none where there is no driver."""
    count = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def engines() -> Path:
    """Folder in which TensorRT keeps what it built for a model and a GPU; only the first run takes minutes."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "srfoundry" / "tensorrt"


def _with_options(device: str, threads: int) -> list[tuple[str, dict[str, str]]]:
    if device == "openvino":  # fp32: on some processors it would compute in bfloat16, and 8 bits show in flat skies
        options = {"device_type": "CPU", "num_of_threads": str(threads), "precision": "FP32"}
        return [(NAMES["openvino"], options)]
    # TF32 keeps 10 bits of mantissa: differences of 1e-3 would show up as wrong last bits in flat skies.
    # HEURISTIC: the default tries every algorithm anew at each size of image.
    cuda = (NAMES["cuda"], {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"})
    if device == "cuda":
        return [cuda]
    folder = engines()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FoundryError(
            f"cannot make {folder}, where TensorRT keeps what it builds: {error.strerror}; "
            "set XDG_CACHE_HOME to a folder that can be written"
        ) from None
    kept = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder), "trt_timing_cache_enable": "1"}
    return [(NAMES["tensorrt"], kept), cuda]

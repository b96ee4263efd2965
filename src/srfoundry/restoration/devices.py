"""Where checkpoints compute, by the names that a person gives a device: for the program and for the server."""

import torch

from srfoundry.core.compute import chosen_device, settle_gpu
from srfoundry.core.errors import FoundryError

BESIDE = {"tensorrt": "cuda", "openvino": "cpu"}  # a server's devices for exported models, and PyTorch's beside them


def chosen(name: str, threads: int | None = None) -> torch.device:
    """The device, which is settled for the whole process.

    Args:
        name: auto, cpu or cuda.
        threads: of the processor, for what the calling thread computes; PyTorch's own number if not given.

    Raises:
        FoundryError: it is another one, or there is no GPU.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise FoundryError(
            f"device {name} runs exported models alone, got a checkpoint; use --device cpu, cuda or auto"
        )
    if name == "cuda" and not torch.cuda.is_available():
        raise FoundryError("device cuda was asked for, got no GPU that torch can see; use --device cpu or auto")
    device = chosen_device(name)
    settle_gpu(device, tf32=False)  # as in ONNX Runtime (runtime.session): 10 bits show in flat skies
    if threads is not None:
        torch.set_num_threads(threads)
    return device

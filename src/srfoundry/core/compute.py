"""Where and how exactly a network computes: its device and memory layout, and float32 or bfloat16."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from srfoundry.core.errors import FoundryError

Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True)
class Compute:
    """Where and how exactly a network computes.

    Args:
        device: of its weights and images.
        precision: auto, float32 or bfloat16 (`shared.precision`).
    """

    device: torch.device
    precision: str = "float32"

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which a network's forward pass runs."""
        return autocast(self.device, self.precision)


def is_gpu(device: torch.device) -> bool:
    """Whether it is anything but a CPU: it does one image after another, and many small tasks at once."""
    return device.type != "cpu"


def chosen_device(wanted: str) -> torch.device:
    """Where to compute by `shared.device`: auto takes a GPU if there is one.

    Raises:
        FoundryError: a GPU is wanted, and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise FoundryError("shared.device is cuda, got no GPU that torch can use; set it to auto or cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return the context in which a network runs in bfloat16 where `precision` and the hardware say so."""
    if not fast_bfloat16(device) if precision == "auto" else precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices faster than float32 ones."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def settle(threads: int, precision: str) -> None:
    """Set what PyTorch computes with in this process, so that the same numbers come out each time.

    Args:
        threads: of a CPU; their number is part of a result's bytes.
        precision: float32 also keeps a GPU's convolutions from rounding to 10 bits (TF32).
    """
    torch.set_num_threads(threads)
    settle_gpu(tf32=precision != "float32")


def settle_gpu(*, tf32: bool) -> None:
    """Let cuDNN take the same algorithm each time.

    Args:
        tf32: whether convolutions may round to 10 bits of mantissa.
    """
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.deterministic = True


def channels_last(net: Net, device: torch.device) -> Net:
    """The net on a device with its weights in channels-last order, the convolutions' quick layout; in place."""
    return net.to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

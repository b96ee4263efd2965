"""Where and how exactly a network computes: its device and memory layout, and float32 or bfloat16."""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.core.checkpointing import checkpointed
from srfoundry.core.errors import FoundryError
from srfoundry.core.process_group import ALONE, Processes

Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True)
class Compute:
    """Where and how exactly a network computes.

    Args:
        device: of its weights and images.
        precision: auto, float32 or bfloat16 (`shared.precision`).
        processes: that train together, each with its own rows of a batch.
        accumulate: parts that a process's rows of a batch are computed in, one after the other; gradients are summed.
        checkpointing: whether blocks keep their inputs alone, and compute the rest again in the backward pass.
    """

    device: torch.device
    precision: str = "float32"
    processes: Processes = ALONE
    accumulate: int = 1
    checkpointing: bool = False

    def parts(self, count: int) -> list[Processes]:
        """The parts that this process's rows of a batch of `count` are computed in (`Processes.parts`)."""
        return self.processes.parts(self.accumulate, count)

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which a network's forward pass runs."""
        return autocast(self.device, self.precision)

    def checkpointed(self, net: nn.Module) -> AbstractContextManager[object]:
        """The context in which the forward pass of a training runs; the backward pass may come after it."""
        return checkpointed(net, self.checkpointing)


def is_gpu(device: torch.device) -> bool:
    """Whether it is anything but a CPU: it does one image after another, and many small tasks at once."""
    return device.type != "cpu"


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; onto a GPU it is copied from pinned memory, and nobody waits for that."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


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
    """Whether the device multiplies bfloat16 matrices faster than float32 ones.

    A processor's units count where oneDNN, which computes the convolutions, uses them: kept from it
    (`ONEDNN_MAX_CPU_ISA=AVX2`), it takes ten times as long as in float32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    units = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return bool(units and torch.ops.mkldnn._is_mkldnn_bf16_supported()) and not is_gpu(device)


def settle(threads: int, precision: str, device: torch.device) -> None:
    """Set what PyTorch computes with in this process, so that the same numbers come out each time.

    Args:
        threads: of a CPU; their number is part of a result's bytes.
        precision: float32 also keeps a GPU's convolutions from rounding to 10 bits (TF32).
        device: where it computes.
    """
    torch.set_num_threads(threads)
    settle_gpu(device, tf32=precision != "float32")


def settle_gpu(device: torch.device, *, tf32: bool) -> None:
    """Let a GPU take the same algorithm each time, and add up in the same order; what cannot raises.

    Before the first product on the GPU: cuBLAS looks at its workspaces once. On a CPU, whose order is fixed by the
    threads, PyTorch's slower ways are left alone.

    Args:
        device: where this process computes.
        tf32: whether convolutions may round to 10 bits of mantissa.
    """
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    if is_gpu(device):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # nobody reads what was not written; pyright does not see the module's property
        torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    torch.use_deterministic_algorithms(is_gpu(device))


def running_sum(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Sums of the values so far; on a GPU by a triangle of ones, since its own `cumsum` has no fixed order."""
    if not is_gpu(values.device):
        return values.cumsum(dim=0)
    return values @ values.new_ones(len(values), len(values)).triu()


def channels_last(net: Net, device: torch.device) -> Net:
    """The net on a device with its weights in channels-last order, the convolutions' quick layout; in place."""
    return net.to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

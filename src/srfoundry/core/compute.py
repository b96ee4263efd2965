"""Where and how exactly a network computes: its device, and float32 or bfloat16 where there are fast units for it."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch


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

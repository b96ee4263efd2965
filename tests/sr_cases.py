"""EDSR, SwinIR and Conditioned made tiny, and what is expected of each: for the tests of what they share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from srfoundry.core.seeds import generator, redraw
from srfoundry.networks.sr import conditioned, edsr, swinir
from srfoundry.networks.sr.conditioned import Conditioned
from srfoundry.networks.sr.edsr import EDSR
from srfoundry.networks.sr.swinir import SwinIR
from srfoundry.networks.sr.window_attention import Attention


@dataclass(frozen=True)
class Case:
    """A kind of network, made tiny, and what is expected of it."""

    name: str
    make: Callable[..., EDSR | SwinIR | Conditioned]
    start_at_bicubic: Callable[[Any], None]
    keywords: dict[str, Any]
    frozen: int  # parameters that the image teaches nothing: mean shifts, the estimate
    multiple_of: int
    size: tuple[int, int]  # an image that needs no padding
    dense: list[int]
    widths: list[int]  # after pruning
    near: float  # mean distance from bicubic at the start
    rough: float  # largest error of half precision
    paints: torch.dtype  # in half precision

    def net(self, scale: int = 2) -> EDSR | SwinIR | Conditioned:
        """The tiny net with random weights, the same each time."""
        net = self.make(scale=scale, **self.keywords)
        redraw(net, generator(1, self.name))
        with torch.no_grad():
            for module in net.modules():
                if isinstance(module, Attention):  # position tables start at zero
                    module.table.copy_(torch.randn(module.table.shape, generator=generator(1, "table")))
        return net

    def low(self, batch: int = 1, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """A random image."""
        return torch.rand(batch, 3, *self.size, dtype=dtype, generator=generator(0, "low"))


EDSR_CASE = Case(
    "edsr", EDSR, edsr.start_at_bicubic, {"blocks": 2, "width": 8},
    frozen=24, multiple_of=1, size=(9, 8), dense=[8, 8], widths=[3, 6], near=0.02, rough=0.02, paints=torch.bfloat16,
)  # fmt: skip
SWINIR_CASE = Case(
    "swinir", SwinIR, swinir.start_at_bicubic, {"depths": [2, 1], "width": 12, "heads": 3, "window": 4},
    frozen=0, multiple_of=4, size=(8, 12), dense=[4, 24] * 3, widths=[2, 9, 1, 24, 4, 5], near=0.04, rough=0.05,
    paints=torch.float32,
)  # fmt: skip
CONDITIONED_CASE = Case(
    "conditioned", Conditioned, conditioned.start_at_bicubic, {"blocks": 2, "width": 4, "taps": 7},
    frozen=24 + 850, multiple_of=1, size=(9, 8), dense=[8, 8], widths=[3, 6], near=0.03, rough=0.03,
    paints=torch.bfloat16,
)  # fmt: skip

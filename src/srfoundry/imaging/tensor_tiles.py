"""Tiles of tensors, on any device (tiling.py says what tiles are), and how far a network looks."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.core import seeds
from srfoundry.imaging import tiling


def tiled(
    upscale: Callable[[Tensor], Tensor],
    low: Float[Tensor, "1 c h w"],
    scale: int,
    *,
    tile: int,
    overlap: int,
    channels: int | None = None,
    progress: tiling.Progress | None = None,
) -> Float[Tensor, "1 d H W"]:
    """The whole enlarged image, on the device of `low`, of as many channels as that if no other number is given.

    The other arguments are those of `tiling.tiled`.

    >>> tiled(net, low, 2, tile=64, overlap=8)
    """

    def run(rows: slice, columns: slice) -> Tensor:
        return upscale(low[..., rows, columns].contiguous()).to(low)

    grid = tiling.fit(low.shape[2], low.shape[3], tile, overlap)
    bands = tiling.blended(run, grid, scale, channels or low.shape[1], arrays=_Like(low), progress=progress)
    return torch.cat(list(bands), dim=2)


def reach(net: Callable[[Tensor], Tensor], *, share: float = 0.99, size: int = 96) -> int:
    """How far a net looks in practice: the radius in input pixels that holds `share` of |d output / d input|.

    Measured at the middle pixel of a random image of `size` pixels a side. The global means of channel attention make
    the formal receptive field infinite; this is the radius that a tile's surroundings should have.
    """
    weights = net.parameters() if isinstance(net, nn.Module) else iter(())
    device = next((weight.device for weight in weights), torch.device("cpu"))
    low = torch.rand(1, 3, size, size, generator=seeds.generator(0, "reach")).to(device).requires_grad_()
    restored = net(low)  # not clipped: a clipped pixel has no slope
    middle = restored.shape[-1] // 2
    (slope,) = torch.autograd.grad(restored[..., middle, middle].sum(), low)
    distance = (torch.arange(size) - size // 2).abs()
    ring = torch.maximum(distance[:, None], distance[None, :]).flatten()
    mass = torch.zeros(size // 2 + 1, dtype=torch.float64)
    mass.index_add_(0, ring, slope.cpu().abs().sum(dim=(0, 1)).flatten().double())
    return int((mass.cumsum(0) < share * mass.sum()).sum())


class _Like:
    def __init__(self, low: Tensor) -> None:
        self.low = low

    def zeros(self, *shape: int) -> Tensor:
        return self.low.new_zeros(shape)

    def weights(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.low)

"""Restoring with a network that works on an image already enlarged, whole or in tiles."""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from srfoundry.degradation import linear_enlargement, variogram
from srfoundry.degradation.observation import Observation
from srfoundry.imaging import tensor_tiles, tiling

Weights = dict[str, Tensor]

REACH = 16  # enlarged pixels that a network is taken to look to each side, if it does not say so


def network_input(net: nn.Module, observation: Observation) -> Float[Tensor, "b c H W"]:
    """Enlarge as the network was trained on (`net.enlargement`); channels last, a third faster on a CPU."""
    how: Any = getattr(net, "enlargement", "bicubic")
    enlarged = linear_enlargement.enlarge(
        observation.low, observation.kernel, observation.scale, how=how, decimation=observation.decimation
    )
    return enlarged.contiguous(memory_format=torch.channels_last)


def restore(net: nn.Module, observation: Observation, *, weights: Weights | None = None) -> Float[Tensor, "b 3 H W"]:
    """Super-resolve with given (adapted) weights or the network's own; clipped to [0, 1] (MZSR alg. 2, line 6)."""
    with torch.no_grad():
        enlarged = network_input(net, observation)
        restored = net(enlarged) if weights is None else functional_call(net, weights, (enlarged,))
        return restored.clamp(0, 1)


def restore_tiled(
    net: nn.Module,
    observation: Observation,
    *,
    weights: Weights | None = None,
    tile: int,
    device: torch.device,
    progress: tiling.Progress | None = None,
) -> Float[Tensor, "1 3 H W"]:
    """As `restore`, with `tile` low-resolution pixels a side at once on `device`; the result is where the image is."""
    low = observation.low
    kernel = None if observation.kernel is None else observation.kernel.to(device)

    def run(piece: Tensor) -> Tensor:
        part = replace(observation, low=piece.to(device), kernel=kernel)
        return restore(net, part, weights=weights).to(low.device)

    shared = overlap(net, tile)
    return tensor_tiles.tiled(run, low, observation.scale, tile=tile, overlap=shared, progress=progress)


def overlap(net: nn.Module, tile: int) -> int:
    """Low-resolution pixels that tiles share on each side: twice what the net and the filter before it look."""
    radius = variogram.RADIUS if getattr(net, "enlargement", "bicubic") == "linear" else 0
    return min(2 * (int(getattr(net, "reach", REACH)) + radius), tile // 4)

"""Restoring with a network that works on an image already enlarged, whole or in tiles."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from srfoundry.degradation import linear_enlargement, variogram
from srfoundry.degradation.observation import Observation
from srfoundry.imaging import resize, tensor_tiles, tiling
from srfoundry.networks.adaptive.mzsr import with_noise

Weights = dict[str, Tensor]
Enlargement = Callable[[Tensor], Tensor]

REACH = 16  # enlarged pixels that a network is taken to look to each side, if it does not say so


def enlargement(net: nn.Module, observation: Observation) -> Enlargement:
    """The enlargement that the network was trained on (`net.enlargement`), for this photograph or windows of it."""
    how: Any = getattr(net, "enlargement", "bicubic")
    if how == "bicubic":
        return partial(resize.cubic, scale=observation.scale)
    return linear_enlargement.fitted(
        observation.low,
        observation.kernel,
        observation.scale,
        decimation=observation.decimation,
        noise=observation.noise,
        together=True,
    )


def network_input(
    net: nn.Module, observation: Observation, enlarge: Enlargement | None = None
) -> Float[Tensor, "b c H W"]:
    """Enlarge as the network was trained on, with the noise for one that knows it.

    Args:
        net: says what it takes.
        observation: a photograph, or windows of it.
        enlarge: of the whole, where the observation is a part.

    Returns:
        channels last, a third faster on a CPU.
    """
    enlarged = (enlarge or enlargement(net, observation))(observation.low)
    if getattr(net, "noise", False):
        enlarged = with_noise(enlarged, observation.noise)
    return enlarged.contiguous(memory_format=torch.channels_last)


def restore(
    net: nn.Module,
    observation: Observation,
    *,
    weights: Weights | None = None,
    enlarge: Enlargement | None = None,
) -> Float[Tensor, "b 3 H W"]:
    """Super-resolve with given (adapted) weights or the network's own; clipped to [0, 1] (MZSR alg. 2, line 6).

    Args:
        net, observation, enlarge: as `network_input` takes them.
        weights: the network's own if not given.
    """
    with torch.no_grad():
        enlarged = network_input(net, observation, enlarge)
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
    enlarge = enlargement(net, observation)

    def run(piece: Tensor) -> Tensor:
        part = replace(observation, low=piece.to(device), kernel=kernel)
        return restore(net, part, weights=weights, enlarge=enlarge).to(low.device)

    shared = overlap(net, tile)
    return tensor_tiles.tiled(run, low, observation.scale, tile=tile, overlap=shared, progress=progress)


def overlap(net: nn.Module, tile: int) -> int:
    """Low-resolution pixels that tiles share on each side: twice what the net and the filter before it look."""
    radius = variogram.RADIUS if getattr(net, "enlargement", "bicubic") == "linear" else 0
    return min(2 * (int(getattr(net, "reach", REACH)) + radius), tile // 4)

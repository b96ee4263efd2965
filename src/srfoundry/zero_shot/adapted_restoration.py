"""Adaptation to an image of any size, then its restoration: the one way of the program, of `evaluate` and of a test."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.degradation.kernel_width import Moved, move_width
from srfoundry.degradation.observation import Observation
from srfoundry.imaging import windows
from srfoundry.imaging.tiling import Progress
from srfoundry.zero_shot.adaptation import Adaptation, adapt
from srfoundry.zero_shot.recipe import Recipe
from srfoundry.zero_shot.restoration import restore_tiled

ADAPT = 384  # low-resolution pixels a side that the network adapts on: its gradients hold every feature map
CROPS = 4  # windows that these pixels are dealt into


def adapt_and_restore(
    net: nn.Module,
    observation: Observation,
    recipe: Recipe,
    *,
    tile: int,
    device: torch.device,
    ticker: Callable[[str], Progress] | None = None,
    rng: torch.Generator | None = None,
) -> tuple[Float[Tensor, "1 3 H W"], Adaptation]:
    """Adapt on the image's own reduced copies, then restore it over tiles.

    Adaptation sees the busiest windows of a large image, so that time and memory stay bounded. Estimate the kernel of
    a window of it before, for the same reason.

    The width of an uncertain kernel is moved first to where the image's spectrum wants it (`kernel_width`), which is
    worth more than all steps of the weights; it does not move where there are no steps.

    Args:
        net: on the device; its own weights stay as they are.
        tile: low-resolution pixels a side that are restored at once.
        device: where it computes; the image is returned where the observed one is.
        ticker: gives, for the titles adapt and restore, what is called with (done, in all).
        rng: needed when the observation has noise.

    Raises:
        FoundryError: the image is too small to adapt on.
    """
    on_device = observation.to(device)
    seen = replace(on_device, low=adaptation_windows(on_device.low))
    moved = move_width(seen) if recipe.rates else Moved(seen, 1.0)
    found = adapt(net, moved.observation, recipe, rng=rng, progress=ticker("adapt") if ticker else None)
    progress = ticker("restore") if ticker else None
    kernel = moved.observation.kernel
    believed = observation if kernel is None else replace(observation, kernel=kernel.to(observation.low.device))
    image = restore_tiled(net, believed, weights=found.weights, tile=tile, device=device, progress=progress)
    return image, replace(found, widened=moved.factor)


def adaptation_windows(
    low: Float[Tensor, "1 3 h w"], side: int = ADAPT, crops: int = CROPS
) -> Float[Tensor, "b 3 p q"]:
    """The windows that adaptation sees: the whole of a small image, up to `crops` busy ones of a large one.

    Args:
        low: the image.
        side: pixels; an image is small if it has no more.
        crops: windows, a square number, that these pixels are dealt into.
    """
    if max(low.shape[-2:]) <= side:
        return low
    boxes = windows.by_edges(low, side // math.isqrt(crops), crops)
    return torch.cat([windows.crop(low, box) for box in boxes])

"""FILE.safetensors with MZSR's network, which adapts to each image."""

import copy
import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.cli.files import TILE
from srfoundry.cli.restorers.restorer import Restored, RestoreOptions, Ticker, no_ticker
from srfoundry.config.params import Params
from srfoundry.core.errors import FoundryError
from srfoundry.degradation.observation import Observation
from srfoundry.imaging import windows
from srfoundry.networks.zoo import cards
from srfoundry.zero_shot.adaptation import Adaptation, adapt
from srfoundry.zero_shot.recipe import Recipe
from srfoundry.zero_shot.restoration import restore_tiled

ADAPT = 384  # low-resolution pixels a side that the network adapts on: its gradients hold every feature map
CROPS = 4  # windows that these pixels are dealt into


@dataclass(frozen=True)
class MzsrRestorer:
    """A meta-trained network: it adapts on the image's own reduced copies, then restores."""

    scale: int
    net: nn.Module
    recipe: Recipe
    device: torch.device
    uses_noise: bool = False

    def restore(self, observation: Observation, name: str, ticker: Ticker = no_ticker) -> Restored:
        """See `Restorer`."""
        net = copy.deepcopy(self.net)  # one for each image: threads must not share one, whose weights are swapped
        image, found = adapt_and_restore(net, observation, self.recipe, device=self.device, ticker=ticker)
        return Restored(image, f"{found.step} steps", tuple(_remarks(found)))


def fits(model: Path) -> bool:
    """Whether the file holds one.

    Raises:
        FoundryError: the file is missing or damaged.
    """
    return model.suffix == ".safetensors" and cards.read_card(model).arch["name"] == "mzsr"


def load(options: RestoreOptions, chosen: Params) -> MzsrRestorer:
    """The restorer of one call.

    Raises:
        FoundryError: the network was trained for another scale, or names no rates to adapt with.
    """
    net, card = cards.load(options.model)
    if options.scale not in (None, card.scale):
        raise FoundryError(f"{options.model} enlarges by {card.scale}, got --scale {options.scale}; leave --scale out")
    recipe = Recipe.from_card(card.metrics, chosen.metatrain.adaptation.rates).with_steps(options.steps)
    return MzsrRestorer(card.scale, net, recipe, options.device)


def adapt_and_restore(
    net: nn.Module,
    observation: Observation,
    recipe: Recipe,
    *,
    device: torch.device,
    tile: int = TILE,
    ticker: Ticker = no_ticker,
) -> tuple[Float[Tensor, "1 3 H W"], Adaptation]:
    """Adapt on the image's own reduced copies, then restore it over tiles.

    Adaptation sees the busiest windows of a large image, so that time and memory stay bounded. Estimate the kernel of
    a window of it before, for the same reason.

    Raises:
        FoundryError: the image is too small to adapt on.
    """
    assert observation.kernel is not None
    net = net.to(device)
    part = adaptation_windows(observation.low, CROPS).to(device)
    seen = replace(observation, low=part, kernel=observation.kernel.to(device))
    found = adapt(net, seen, recipe, progress=ticker("adapt"))
    image = restore_tiled(net, observation, weights=found.weights, tile=tile, device=device, progress=ticker("restore"))
    return image, found


def adaptation_windows(low: Float[Tensor, "1 3 h w"], crops: int) -> Float[Tensor, "b 3 p q"]:
    """The windows that adaptation sees: the whole of a small image, up to `crops` busy ones of a large one."""
    if max(low.shape[-2:]) <= ADAPT:
        return low
    boxes = windows.by_edges(low, ADAPT // math.isqrt(crops), crops)
    return torch.cat([windows.crop(low, box) for box in boxes])


def _remarks(found: Adaptation) -> list[str]:
    taken, kept = len(found.losses) - 1, found.step
    if found.diverged:
        return [f"adaptation diverged at step {taken}: fell back to step {kept} (fewer --steps, or another --kernel)"]
    if kept < taken:
        return [f"adaptation stopped at step {kept} of {taken}: there the held-out part of the image fits best"]
    return []

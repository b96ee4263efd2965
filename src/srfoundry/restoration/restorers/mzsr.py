"""FILE.safetensors with MZSR's network, which adapts to each image."""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from srfoundry.config.params import Params
from srfoundry.core import seeds
from srfoundry.core.errors import FoundryError
from srfoundry.degradation.observation import Observation
from srfoundry.networks.zoo import cards
from srfoundry.restoration.restorers.restorer import TILE, Restored, RestoreOptions, Ticker, no_ticker, noise_of
from srfoundry.zero_shot.adaptation import Adaptation
from srfoundry.zero_shot.adapted_restoration import adapt_and_restore
from srfoundry.zero_shot.recipe import Recipe


@dataclass(frozen=True)
class MzsrRestorer:
    """A meta-trained network: it adapts on the image's own reduced copies, then restores."""

    scale: int
    net: nn.Module
    recipe: Recipe
    device: torch.device

    @property
    def uses_noise(self) -> bool:
        """Whether the network knows it, or gets the linear enlargement, which is fitted to it."""
        return getattr(self.net, "noise", False) or getattr(self.net, "enlargement", "bicubic") == "linear"

    def restore(self, observation: Observation, name: str, ticker: Ticker = no_ticker) -> Restored:
        """See `Restorer`."""
        net = copy.deepcopy(self.net)  # one for each image: threads must not share one, whose weights are swapped
        image, found = adapt_and_restore(
            net.to(self.device),
            observation,
            self.recipe,
            tile=TILE,
            device=self.device,
            ticker=ticker,
            rng=seeds.generator(0, "mzsr", name),
        )
        how = f"{found.step} steps" + (f", {noise_of(observation)}" if observation.noise else "")
        if found.widened != 1:
            how += f", the kernel's variances times {found.widened:.2f}"
        return Restored(image, how, tuple(_remarks(found)))


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
    steps = chosen.metatrain.adaptation
    otherwise = Recipe(steps.rates, steps.self_pairs, steps.held_out, steps.descent)
    recipe = Recipe.from_card(card.metrics, otherwise).with_steps(options.steps)
    return MzsrRestorer(card.scale, net, recipe, options.device)


def _remarks(found: Adaptation) -> list[str]:
    taken, kept = len(found.losses) - 1, found.step
    if found.diverged:
        return [f"adaptation diverged at step {taken}: fell back to step {kept} (fewer --steps, or another --kernel)"]
    if kept < taken:
        return [f"adaptation: {kept} of {taken} steps kept, further ones made the image's own copy worse"]
    return []

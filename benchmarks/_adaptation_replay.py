"""Patches of the training photographs that look like an image: what replay against forgetting learns from."""

from dataclasses import dataclass
from math import pi
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.core.seeds import generator
from srfoundry.degradation.observation import Observation
from srfoundry.imaging.patches import Patches
from srfoundry.zero_shot.restoration import network_input
from srfoundry.zero_shot.self_pairs import SelfPairs

POOL, SIDE = 600, 96  # patches, and high-resolution pixels a side
BATCH, STEPS = 3, 10  # patches a step: about as many pixels as the copy of an image of 320 pixels has
BINS = 8  # directions of edges, half a turn


@dataclass(frozen=True)
class Replay:
    """Patches to choose from, range [0, 1]."""

    patches: "list[Float[Tensor, '1 3 p p']]"

    @classmethod
    def of(cls, folder: Path) -> "Replay":
        """Draw patches of prepared photographs."""
        drawn = Patches.open(folder).batch(POOL, SIDE, rng=generator(0, "adaptation", "replay"), factors=[1])[1]
        return cls(list(drawn.split(1)))

    def pairs(self, net: nn.Module, observation: Observation) -> list[SelfPairs]:
        """The patches that look most like an image once they are degraded as it was, so many a step, nearest first."""
        wanted = look(observation.low)
        lows = [observation.degrade(patch).clamp(0, 1) for patch in self.patches]
        order = sorted(range(len(lows)), key=lambda index: float((look(lows[index]) - wanted).square().sum()))
        nearest = order[: BATCH * STEPS]
        found = []
        for first in range(0, len(nearest), BATCH):
            these = nearest[first : first + BATCH]
            low = torch.cat([lows[index] for index in these])
            seen = Observation(low, observation.kernel, observation.sampling)
            target = torch.cat([self.patches[index] for index in these])
            found.append(SelfPairs(network_input(net, seen), target, torch.zeros_like(target[:, :1]).bool()))
        return found


def look(low: Float[Tensor, "1 3 h w"]) -> Float[Tensor, " f"]:
    """How an image looks: the logarithm of its contrast, and the share of its edges in each direction."""
    grey = low.mean(dim=(0, 1))
    down, across = grey.diff(dim=0)[:, :-1], grey.diff(dim=1)[:-1]
    strength = torch.hypot(down, across)
    bins = ((torch.atan2(down, across) % pi) / pi * BINS).long().clamp(max=BINS - 1)
    shares = torch.zeros(BINS).index_add(0, bins.flatten(), strength.flatten())
    return torch.cat([strength.mean().clamp(min=1e-4).log()[None], 3 * shares / shares.sum().clamp(min=1e-6)])

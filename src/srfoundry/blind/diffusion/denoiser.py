"""A diffusion model as image prior: the photograph that it expects behind a noisy image.

DDPM (Ho, Jain and Abbeel, NeurIPS 2020): x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) e for images in [-1, 1], where a_t falls
from 1 to about 0 over the steps t. A network takes x_t and t and predicts e, x_0, or
v = sqrt(a_t) e - sqrt(1 - a_t) x_0 (Salimans and Ho, ICLR 2022).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Target = Literal["epsilon", "v_prediction", "sample"]
OVERLAP = 0.25  # of a tile's side


@dataclass(frozen=True)
class Denoiser:
    """A diffusion model at work: E[x_0 | x_t] of images of any size.

    Attributes:
        net: `n 3 p p` and a step in, diffusers' output object back (its `sample`; variances behind are left out).
        signal: a_t, one a step, on the CPU.
        target: what the network predicts.
        tile: pixels a side of the network's input; as in training.
    """

    net: nn.Module
    signal: Float[Tensor, " t"]
    target: Target
    tile: int

    def clean(self, noisy: Float[Tensor, "b 3 h w"], step: int) -> Float[Tensor, "b 3 h w"]:
        """E[x_0 | x_t], unclipped, in [-1, 1] as `noisy`; the whole at once."""
        steps = torch.full((len(noisy),), step, device=noisy.device)
        found = self.net(noisy, steps).sample[:, :3].float()
        # a_t is read here and filled in there: a copy of the tensor would have the GPU waited for
        kept = torch.full((1, 1, 1, 1), float(self.signal[step]), dtype=self.signal.dtype, device=noisy.device)
        if self.target == "sample":
            return found
        if self.target == "v_prediction":
            return kept.sqrt() * noisy - (1 - kept).sqrt() * found
        return (noisy - (1 - kept).sqrt() * found) / kept.sqrt()

    def torus(
        self, noisy: Float[Tensor, "1 3 h w"], step: int, *, rng: torch.Generator, batch: int = 16
    ) -> Float[Tensor, "1 3 h w"]:
        """E[x_0 | x_t] of a periodic image of any size, by overlapping tiles under smooth weights.

        Tiles are laid evenly from an origin that is drawn: over many steps no seam keeps its place. They are added one
        after another, since sums of many at once have no fixed order on a GPU, and so no fixed bytes.
        """
        tile, sides = self.tile, noisy.shape[-2:]
        origin = torch.randint(2**31, (2,), generator=rng).tolist()
        rows, columns = (_starts(side, tile, first) for side, first in zip(sides, origin, strict=True))
        corners = [(row, column) for row in rows for column in columns]
        down, across = (torch.arange(side + tile, device=noisy.device) % side for side in sides)
        wide = noisy[0, :, down][..., across]  # the torus, unrolled as far as tiles reach
        axis = torch.sin(torch.pi * (torch.arange(tile, device=noisy.device) + 0.5) / tile).square() + 1e-3
        weight = axis[:, None] * axis
        total = torch.zeros_like(wide)
        weights = torch.zeros_like(wide[:1])
        for first in range(0, len(corners), batch):
            places = [
                (slice(None), slice(row, row + tile), slice(column, column + tile))
                for row, column in corners[first : first + batch]
            ]
            clean = self.clean(torch.stack([wide[place] for place in places]), step) * weight
            for place, part in zip(places, clean, strict=True):
                total[place] += part
                weights[place] += weight
        return (_rolled(total, sides) / _rolled(weights, sides))[None]


def nearest(denoiser: Denoiser, level: float) -> int:
    """The step t whose noise over signal is nearest to standard deviation `level` of images in [0, 1]."""
    return int((deviations(denoiser.signal).log() - torch.tensor(level).log()).abs().argmin())


def deviations(signal: Float[Tensor, "*t"]) -> Float[Tensor, "*t"]:
    """sqrt((1 - a_t) / a_t) / 2: the noise of x_t / sqrt(a_t) when images are in [0, 1]."""
    return ((1 - signal) / signal.clamp_min(1e-12)).sqrt() / 2


def _starts(side: int, tile: int, first: int) -> list[int]:
    """The first pixel of each tile along one axis of a torus, evenly spread from pixel `first`."""
    count = max(1, -(-side // max(1, round(tile * (1 - OVERLAP)))))
    return [(first + index * side // count) % side for index in range(count)]


def _rolled(wide: Float[Tensor, "c y x"], sides: Sequence[int]) -> Float[Tensor, "c h w"]:
    """Add what lies beyond a torus's sides to where it belongs."""
    for dim, side in zip((-2, -1), sides, strict=True):
        whole, *beyond = wide.split(side, dim)
        wide = whole.clone()
        for part in beyond:
            wide.narrow(dim, 0, part.shape[dim]).add_(part)
    return wide

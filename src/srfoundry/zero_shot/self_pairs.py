"""What is learned from one image: pairs of itself and its reduced copies, and the part of it that only judges."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call

from srfoundry.core import seeds
from srfoundry.core.compute import autocast
from srfoundry.core.errors import FoundryError
from srfoundry.degradation import kernels
from srfoundry.degradation.observation import Observation
from srfoundry.zero_shot.recipe import Recipe
from srfoundry.zero_shot.restoration import Weights, network_input
from srfoundry.zero_shot.symmetries import SYMMETRIES, Symmetry, turn

RINGING = 0.1  # sum of negative taps that a kernel moved by part of a pixel may have
BLOCK = 8  # pixels a side of the blocks that are held out: as wide as the network's sight, narrower than a tiny image
PIXELS = 2**18  # of enlarged copies that go through the network at once: their feature maps take about a gigabyte


class Found(NamedTuple):
    """The loss on what trains and on what is held out, and the first one's slope in each weight tensor."""

    loss: float
    held_out: float
    slope: list[Tensor]


@dataclass(frozen=True)
class SelfPairs:
    """Enlarged reduced copies of an image as inputs, the image as their target."""

    enlarged: Float[Tensor, "b c h w"]
    target: Float[Tensor, "b c h w"]
    held_out: Bool[Tensor, "b 1 h w"]
    """The pixels that do not train: the same of the image in every one of its copies."""

    @classmethod
    def of(
        cls, net: nn.Module, observation: Observation, recipe: Recipe, *, rng: torch.Generator | None = None
    ) -> "SelfPairs":
        """Degrade the image once more, as it was itself (MZSR alg. 2, line 1)."""
        low = observation.low.to(next(net.parameters()).dtype)
        cut = partial(phases, scale=observation.scale, count=recipe.self_pairs)
        return cls._made(net, observation, cut(low), cut(_held_out(low, recipe.held_out)), rng)

    @classmethod
    def turned(
        cls, net: nn.Module, observation: Observation, recipe: Recipe, step: int, rng: torch.Generator | None = None
    ) -> "SelfPairs":
        """The self-pair of a step of its own: another starting pixel and another symmetry with each.

        The image is turned, and its blur is not: the turned image is one more photograph, of which the same blur makes
        the reduced copy.
        """
        low, scale = observation.low.to(next(net.parameters()).dtype), observation.scale
        phase, symmetry = copy_of_step(step, scale)
        whole = (low, _held_out(low, recipe.held_out))
        target, held_out = (phases(each, scale, scale**2).chunk(scale**2)[phase] for each in whole)
        return cls._made(net, observation, target, held_out, rng, SYMMETRIES[symmetry])

    @classmethod
    def _made(
        cls,
        net: nn.Module,
        observation: Observation,
        target: Float[Tensor, "b c h w"],
        held_out: Bool[Tensor, "b 1 h w"],
        rng: torch.Generator | None,
        symmetry: Symmetry = SYMMETRIES[0],
    ) -> "SelfPairs":
        target = turn(target, symmetry).contiguous()
        reduced = replace(observation, low=replace(observation, low=target).reduced(rng=rng))
        return cls(network_input(net, reduced), target, turn(held_out, symmetry))

    @property
    def constant(self) -> bool:
        """Whether every target is of one colour."""
        return bool((self.target.amax(dim=(-2, -1)) == self.target.amin(dim=(-2, -1))).all())

    def loss(self, net: nn.Module, weights: Weights, precision: str = "float32", *, slope: bool) -> Found:
        """Mean absolute error with these weights, a few images at a time."""
        leaves = {name: value.detach().requires_grad_(slope) for name, value in weights.items()}
        total = [torch.zeros_like(value) for value in weights.values()]
        trains, judges = (
            (part / (part.sum().clamp(min=1) * self.target.shape[1])) for part in (~self.held_out, self.held_out)
        )
        train, other = 0.0, 0.0
        for inputs, wanted, training, judging in self._parts(self.enlarged, self.target, trains, judges):
            with torch.set_grad_enabled(slope):
                error = _errors(net, leaves, inputs, wanted, precision)
                loss = (error * training).sum()
            if slope:
                for sum_, each in zip(total, torch.autograd.grad(loss, list(leaves.values())), strict=True):
                    sum_ += each
            train, other = train + float(loss.detach()), other + float((error.detach() * judging).sum())
        return Found(train, other, total)

    def _parts(self, *whole: Tensor) -> Iterator[tuple[Tensor, ...]]:
        most = max(1, PIXELS // (self.target.shape[-2] * self.target.shape[-1]))
        yield from zip(*(each.split(most) for each in whole), strict=True)


def _errors(net: nn.Module, weights: Weights, enlarged: Tensor, target: Tensor, precision: str) -> Tensor:
    with autocast(enlarged.device, precision):
        restored = functional_call(net, weights, (enlarged,))
    return (restored.float() if restored.dtype == torch.bfloat16 else restored).sub(target).abs()


def phases(low: Shaped[Tensor, "b c h w"], scale: int, count: int) -> Shaped[Tensor, "_ c p q"]:
    """The image from `count` starting pixels of its first block, diagonal neighbours first, all of one size.

    Or a map of its pixels. Each is cut to a multiple of the scale; direct decimation then keeps other pixels of each.

    Raises:
        FoundryError: fewer than one, or more than the block has pixels.
    """
    if not 1 <= count <= scale**2:
        raise FoundryError(f"self_pairs must be 1 to {scale**2} at scale {scale}, got {count}")
    starts = [divmod(index, scale) for index in range(scale**2)]
    order = sorted(starts, key=lambda at: ((at[0] + at[1]) % 2, at[0], at[1]))[:count]
    rim = [max(at[axis] for at in order) for axis in (0, 1)]
    height, width = ((low.shape[axis - 2] - rim[axis]) // scale * scale for axis in (0, 1))
    return torch.cat([low[..., top : top + height, left : left + width] for top, left in order])


def copy_of_step(step: int, scale: int) -> tuple[int, int]:
    """Which starting pixel and which symmetry a step sees: all of them in a random order, always the same."""
    count = scale**2 * len(SYMMETRIES)
    order = torch.randperm(count, generator=seeds.generator(0, "adaptation", "copies"))
    return divmod(int(order[step % count]), len(SYMMETRIES))


def _held_out(low: Float[Tensor, "b c h w"], share: float) -> Bool[Tensor, "b 1 h w"]:
    """The lattice on the image itself: on each of its copies it would hold out what trains in another."""
    return lattice(low.shape[-2], low.shape[-1], share).to(low.device).expand(len(low), 1, -1, -1)


def lattice(height: int, width: int, share: float) -> Bool[Tensor, "h w"]:
    """Which pixels are held out: blocks on a skewed lattice, one of every round(1 / share); the first always.

    Raises:
        FoundryError: the share is not 0 to 0.5.
    """
    if not 0 <= share <= 0.5:
        raise FoundryError(f"held_out must be a share of 0 to 0.5, got {share}; 0.1 holds out a tenth")
    if not share:
        return torch.zeros(height, width, dtype=torch.bool)
    period = round(1 / share)
    # Neighbours are held out far from each other; coprime, so that every column of blocks has its turn.
    skew = min(
        (one for one in range(1, period) if math.gcd(one, period) == 1), key=lambda one: abs(one - 0.38 * period)
    )
    rows, columns = (torch.arange(extent) // BLOCK for extent in (height, width))
    return (rows[:, None] * skew + columns[None, :]) % period == 0


def check(net: nn.Module, observation: Observation) -> None:
    """Refuse what has no reduced copy to learn from.

    Raises:
        FoundryError: no RGB image, no kernel, no scale, or an image smaller than the kernel or the net's sight.
    """
    low, kernel, scale = observation.low, observation.kernel, observation.scale
    check_image(low)
    if isinstance(scale, bool) or not isinstance(scale, int) or scale < 1:
        raise FoundryError(f"scale must be a whole number of at least 1, got {scale}; 2 doubles the image")
    size = 0
    if kernel is not None:
        kernels.check(kernel)
        size = kernel.shape[-1]
        if float(kernel.clamp(max=0).sum()) < -RINGING:
            raise FoundryError(
                f"kernel has negative taps (down to {float(kernel.min()):.3g}), which no blur has; set them to 0 and "
                "divide by the sum (kernels.normalise)"
            )
    height, width = low.shape[-2:]
    sees = 2 * int(getattr(net, "reach", 0)) + 1
    least = max(8 * scale, sees, size)
    if min(height, width) // scale * scale < least:
        why = f"the kernel of {size}x{size}" if size == least else "a reduced copy to learn from"
        raise FoundryError(
            f"image of {height}x{width} is too small to adapt on: {why} needs {-(-least // scale) * scale} pixels a "
            "side at least; take a larger image, or 0 steps"
        )


def check_image(low: Float[Tensor, "b c h w"]) -> None:
    """Refuse grey, four channels and pixels that are no numbers."""
    if low.shape[1] != 3:
        raise FoundryError(
            f"the network takes RGB images of 3 channels, got {low.shape[1]}; repeat grey three times, drop alpha"
        )
    if not bool(torch.isfinite(low).all()):
        raise FoundryError("the image holds NaN or infinity; replace these pixels first")

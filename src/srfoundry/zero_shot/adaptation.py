"""Zero-shot adaptation: a few gradient steps on one image's own reduced copies.

Soh et al., "Meta-Transfer Learning for Zero-Shot Super-Resolution", CVPR 2020, third phase (algorithm 2). The network
improves on images that are enlarged already, as in training; losses are mean absolute errors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from srfoundry.degradation.observation import Observation
from srfoundry.imaging.tiling import Progress
from srfoundry.zero_shot import self_pairs
from srfoundry.zero_shot.recipe import Recipe
from srfoundry.zero_shot.restoration import Weights
from srfoundry.zero_shot.self_pairs import SelfPairs

BETAS = (0.9, 0.99)  # ten steps are fewer than the thousand that Adam's own second value remembers
DIVERGED = 2.0  # times the first loss: no useful step ends there


@dataclass(frozen=True)
class Adaptation:
    """What adaptation to one image gave."""

    weights: Weights
    losses: list[float]
    """On the self-pairs, before each step and after the last; empty when there was no step."""
    held_out: list[float]
    """The same on the part of the image that did not train; empty when there was none."""
    step: int
    """How many steps made the weights that are returned."""
    diverged: bool
    """Whether a loss grew above twice the first or was not finite; the steps end there."""
    widened: float = 1.0
    """By what the variances of an uncertain kernel were multiplied before the first step."""


def adapt(
    net: nn.Module,
    observation: Observation,
    recipe: Recipe,
    *,
    weights: Weights | None = None,
    rng: torch.Generator | None = None,
    precision: str = "float32",
    progress: Progress | None = None,
) -> Adaptation:
    """Adapt to one image by gradient descent on its self-pairs (MZSR alg. 2, lines 1 to 5), or Adam's on turned ones.

    The weights of the step with the least loss are returned, on the held-out part where there is one: never those of
    a step after which the image's own reduced copy is restored worse than before the first.
    From an image of one colour nothing is learned: its weights are where they started.

    Args:
        observation: an RGB image in [0, 1], or windows of one of equal size (b > 1), which train together. Its
            reduced copies are degraded as it was, noise included (which helps on noisy images).
        weights: where to start; the network's own if not given.
        rng: needed when the observation has noise.
        precision: of the convolutions (`core.compute.autocast`): bfloat16 moves PSNR by hundredths of a dB either way,
            and takes less than half the time where the hardware has it.
        progress: is called with (steps done, steps in all).

    Raises:
        FoundryError: the image or the kernel is none, does not fit the other, or is too small to have a reduced copy
            that the network can learn from; rates, self-pairs or share are out of range.
    """
    steps = recipe.step_sizes(net)
    given = weights or dict(net.named_parameters())
    current = {name: given[name].detach() for name, _ in net.named_parameters()}
    course = _Course(current, by_held_out=recipe.held_out > 0)
    self_pairs.check_image(observation.low)
    if not steps:
        return course.ended()
    self_pairs.check(net, observation)
    pairs = SelfPairs.of(net, observation, recipe, rng=rng)
    if pairs.constant:
        return course.ended()
    plain, adam = recipe.descent == "plain", Adam(current)
    for step in range(len(steps) + 1):
        last = step == len(steps)
        found = pairs.loss(net, current, precision, slope=plain and not last)
        if course.diverges(step, current, found.loss, found.held_out):
            return course.ended(diverged=True)
        if last:
            break
        if plain:
            current = {
                name: value - rate * each
                for (name, value), rate, each in zip(current.items(), steps[step], found.slope, strict=True)
            }
        else:
            copy = SelfPairs.turned(net, observation, recipe, step, rng)
            current = adam.step(copy.loss(net, current, precision, slope=True).slope, steps[step])
        if progress is not None:
            progress(step + 1, len(steps))
    return course.ended()


class Adam:
    """Adam's steps from some weights, with a step size for each tensor (Kingma and Ba, ICLR 2015)."""

    def __init__(self, weights: Weights) -> None:
        self.leaves = {name: value.detach().clone() for name, value in weights.items()}
        groups = [{"params": [leaf]} for leaf in self.leaves.values()]
        self.adam = torch.optim.Adam(groups, betas=BETAS)

    def step(self, slope: Sequence[Tensor], rates: Sequence[float]) -> Weights:
        """Go one step down and return the weights there."""
        for group, each, rate in zip(self.adam.param_groups, slope, rates, strict=True):
            group["lr"], group["params"][0].grad = rate, each
        self.adam.step()
        return {name: leaf.clone() for name, leaf in self.leaves.items()}


@dataclass
class _Course:
    """The losses of the steps so far, and the weights that are kept."""

    weights: Weights
    by_held_out: bool
    step: int = 0
    least: float = math.inf
    losses: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)

    def diverges(self, step: int, weights: Weights, loss: float, held_out: float) -> bool:
        """Note what `step` steps have come to, and keep their weights if none were better."""
        self.losses.append(loss)
        if self.by_held_out:
            self.held_out.append(held_out)
        judge = held_out if self.by_held_out else loss
        if not (math.isfinite(loss) and math.isfinite(judge)) or loss > DIVERGED * self.losses[0]:
            return True
        if judge < self.least:
            self.least = judge
            self.keep(step, weights)
        return False

    def keep(self, step: int, weights: Weights) -> None:
        self.step, self.weights = step, weights

    def ended(self, *, diverged: bool = False) -> Adaptation:
        return Adaptation(self.weights, self.losses, self.held_out, self.step, diverged)

"""Adam's steps on any part or parametrisation of a network's weights, by the slope in the weights themselves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks._adaptation_classes import Case
from srfoundry.core.seeds import generator
from srfoundry.zero_shot.adaptation import BETAS
from srfoundry.zero_shot.restoration import Weights, network_input
from srfoundry.zero_shot.self_pairs import SelfPairs


@dataclass(frozen=True)
class Leaves:
    """What moves, and the weights that follow from it."""

    values: list[Tensor]
    weights: Callable[[], Weights]


def all_weights(start: Weights) -> Leaves:
    """Every weight."""
    leaves = {name: value.clone().requires_grad_() for name, value in start.items()}
    return Leaves(list(leaves.values()), lambda: dict(leaves))


def last_layer(start: Weights) -> Leaves:
    """Weight and bias of the last convolution."""
    leaves = {name: start[name].clone().requires_grad_() for name in list(start)[-2:]}
    return Leaves(list(leaves.values()), lambda: start | leaves)


def channel_gains(start: Weights) -> Leaves:
    """Every bias, and a factor of each output channel of every convolution."""
    biases = {name: value.clone().requires_grad_() for name, value in start.items() if value.dim() == 1}
    gains = {name: torch.ones(len(value)).requires_grad_() for name, value in start.items() if value.dim() > 1}

    def weights() -> Weights:
        return {
            name: biases[name] if name in biases else value * gains[name].view(-1, 1, 1, 1)
            for name, value in start.items()
        }

    return Leaves([*biases.values(), *gains.values()], weights)


def low_rank(start: Weights, rank: int) -> Leaves:
    """A change of so low a rank of every convolution, as a matrix of outputs by inputs and taps (LoRA, 2022)."""
    rng = generator(0, "adaptation", "rank")
    left, right = dict[str, Tensor](), dict[str, Tensor]()
    for name, value in start.items():
        if value.dim() > 1:
            left[name] = torch.zeros(len(value), rank).requires_grad_()
            right[name] = (torch.randn(rank, value[0].numel(), generator=rng) / rank**0.5).requires_grad_()

    def weights() -> Weights:
        return {
            name: value + (left[name] @ right[name]).view_as(value) / value[0].numel() ** 0.5 if name in left else value
            for name, value in start.items()
        }

    return Leaves([*left.values(), *right.values()], weights)


def walk(
    net: nn.Module,
    leaves: Leaves,
    copies: Callable[[int], SelfPairs],
    sizes: Sequence[float],
    *,
    adam: bool = True,
    factors: Sequence[float] | None = None,
) -> Weights:
    """Go a step of each size down, each on its own copy, and return the weights.

    Args:
        net: its own weights take no part.
        leaves: what moves.
        copies: the pairs that a step looks at.
        sizes: Adam's rates, or those of plain descent.
        factors: of the step size of each leaf.
    """
    groups = [{"params": [leaf]} for leaf in leaves.values]
    descent = torch.optim.Adam(groups, betas=BETAS) if adam else torch.optim.SGD(groups, lr=1.0)
    for step, size in enumerate(sizes):
        weights = leaves.weights()
        slope = copies(step).loss(net, weights, slope=True).slope
        for index, (leaf, group) in enumerate(zip(leaves.values, descent.param_groups, strict=True)):
            group["lr"], leaf.grad = size * (factors[index] if factors else 1.0), None
        moving = [(value, each) for value, each in zip(weights.values(), slope, strict=True) if value.requires_grad]
        torch.autograd.backward([value for value, _ in moving], [each for _, each in moving])
        descent.step()
    return {name: value.detach() for name, value in leaves.weights().items()}


def step_factors(
    net: nn.Module, case: Case, start: Weights, end: Weights
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """How each tensor moved, and the slopes of the true loss before and after."""
    whole = torch.zeros_like(case.high[:, :1]).bool()
    pair = SelfPairs(network_input(net, case.observation), case.high, whole)
    moved = [end[name] - start[name] for name in start]
    return moved, pair.loss(net, start, slope=True).slope, pair.loss(net, end, slope=True).slope

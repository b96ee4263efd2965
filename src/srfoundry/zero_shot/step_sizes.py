"""Step sizes of adaptation that are learned along with the weights (Li et al., "Meta-SGD", 2017)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

Rates = Sequence[float] | Sequence[Sequence[float]]  # of each step, or of each step and weight tensor

SPEED = 30.0  # how much faster the factors' logarithms are learned than the weights


class StepSizeFactors(nn.Module):
    """A factor of the step size for each of a network's weight tensors; all start at 1."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        count = sum(1 for _ in net.parameters())
        self.logarithm = nn.Parameter(torch.zeros(count))

    def factors(self) -> Float[Tensor, " w"]:
        """One for each weight tensor, in the order of `net.parameters()`."""
        return self.logarithm.detach().exp()

    def descend(self, slope: Float[Tensor, "j w"], sizes: Float[Tensor, "j w"]) -> None:
        """Turn the gradient with respect to the step sizes into that of the logarithms."""
        self.logarithm.grad = (slope * sizes).sum(dim=0).to(self.logarithm)


def step_sizes(rates: Sequence[float], factors: Float[Tensor, " w"]) -> list[float] | list[list[float]]:
    """What adaptation takes: the rates themselves, or with learned factors one for each step and weight tensor."""
    if bool((factors == 1).all()):
        return list(rates)
    return [[rate * factor for factor in factors.tolist()] for rate in rates]

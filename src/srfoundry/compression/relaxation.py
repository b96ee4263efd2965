"""What the search of widths moves: numbers alpha a unit, made into probabilities of the widths of its ladder.

`softmax` is DRC's: a logit a width. Nothing then keeps a unit from giving all its channels one small factor, which the
weights make up for, so that width costs nothing until the temperature decides: units end at either end of their
ladders, and a search that ends badly keeps what is worth least. `threshold` has one number a unit, where its channels
end, with a logistic edge,

    P(width > w) = sigmoid((end - w) / softness),

so that most channels are all there or gone, and the gradient says what those at the edge are worth. It starts at the
one keep ratio that meets the budget, not at a half of all channels.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.compression.budget import Budget
from srfoundry.compression.settings import Relaxation
from srfoundry.networks.sr.prunable import Unit, importance_order, masked, read

SOFTNESS = 0.15  # of a threshold's edge at temperature 1, in full widths
REACH = 6.0  # softnesses beyond its ladder that an end may go; there its gradient is a hundredth of the steepest
UNIT = 3.0  # what a full width is in a threshold's alpha; a rate then means about what it means for logits


def candidates(channels: int, remove: float, shares: Sequence[float] = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)) -> list[int]:
    """The released code's six widths at a removal rate: multiples of four, capped at the rate, duplicates kept."""
    kept = [int(channels * (1 - remove) * share) for share in shares]
    return [min(max((width + 1) // 4 * 4, 4), channels) for width in kept]


def mixing(
    share: Float[Tensor, " n"], weight: Float[Tensor, "o c *k"], widths: Sequence[int], spans: int = 1
) -> Float[Tensor, " width"]:
    """Factor of each channel: m_c = sum_i share_i [rank(c) < width_i] (DRC's importance-ordered sharing)."""
    order = importance_order(weight, spans)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    reached = rank[None, :] < torch.tensor(widths, device=order.device)[:, None]
    return share @ reached.to(share)


def mixed(
    net: nn.Module,
    units: Sequence[Unit],
    ladders: Sequence[Sequence[int]],
    shares: Sequence[Tensor],
    activities: Sequence[Tensor] | None = None,
) -> AbstractContextManager[None]:
    """Within, each unit's channels are multiplied by their mixing factors, ranked by the weights of the moment.

    With `activities` (compression.importance) by those weights times what comes through them.
    """

    def factors(unit: Unit, widths: Sequence[int], share: Tensor, activity: Tensor | None) -> Callable[[], Tensor]:
        return lambda: mixing(share, read(net, unit, activity), widths, unit.spans)

    active = [None] * len(units) if activities is None else activities
    return masked(net, units, [factors(*row) for row in zip(units, ladders, shares, active, strict=True)])


class Widths(nn.Module):
    """The searched distribution: alpha of each unit, and the price of the budget (a Lagrange multiplier)."""

    price: Tensor

    def __init__(self, budget: Budget, alpha: Sequence[Tensor]) -> None:
        super().__init__()
        self.ladders = budget.ladders
        self.alpha = nn.ParameterList(alpha)
        self.register_buffer("price", torch.zeros(()))

    def shares(self, temperature: float = 1.0) -> list[Tensor]:
        """Probabilities of the widths of each unit."""
        raise NotImplementedError

    def settle(self, temperature: float) -> None:
        """Called after each step of alpha."""


class Softmax(Widths):
    """A logit a width; `target`, the fraction to remove, plays no part at the start (DRC)."""

    def __init__(self, budget: Budget, target: float, *, rng: torch.Generator) -> None:
        super().__init__(budget, [1e-3 * torch.randn(len(widths), generator=rng) for widths in budget.ladders])

    def shares(self, temperature: float = 1.0) -> list[Tensor]:
        """softmax(alpha / temperature)."""
        return [torch.softmax(logits / temperature, dim=0) for logits in self.alpha]


class Threshold(Widths):
    """A number a unit, where its channels end, in full widths times UNIT; `target` is the fraction to remove."""

    def __init__(self, budget: Budget, target: float, *, rng: torch.Generator) -> None:
        super().__init__(budget, [torch.zeros(()) for _ in budget.ladders])
        low, high = -UNIT, 2 * UNIT
        with torch.no_grad():
            for _ in range(40):  # by bisection: one keep ratio for all
                middle = (low + high) / 2
                for end in self.alpha:
                    end.fill_(middle)
                low, high = (middle, high) if budget.expected_removed(self.shares()) > target else (low, middle)
            for end in self.alpha:
                end += 1e-3 * torch.randn((), generator=rng)
        self.settle(1.0)

    def shares(self, temperature: float = 1.0) -> list[Tensor]:
        """P(width > w) = sigmoid((end - w) / softness), w half-way between two widths of the ladder."""
        found = []
        for end, widths in zip(self.alpha, self.ladders, strict=True):
            ladder = end.new_tensor(widths)
            reach = (end / UNIT - _between(ladder)) / (SOFTNESS * temperature)
            certain = reach.new_full((1,), torch.inf)
            wider, narrower = torch.cat([certain, reach]), torch.cat([reach, -certain])
            # sigmoid(wider) - sigmoid(narrower), without the digits that the difference would lose
            found.append(wider.sigmoid() * (-narrower).sigmoid() * -torch.expm1(narrower - wider))
        return found

    def settle(self, temperature: float) -> None:
        """Keep the ends near their ladders: far beyond, neither loss nor budget could move them any more."""
        margin = REACH * SOFTNESS * temperature
        with torch.no_grad():
            for end, widths in zip(self.alpha, self.ladders, strict=True):
                if len(widths) > 1:
                    between = _between(end.new_tensor(widths))
                    end.clamp_(UNIT * (between[0] - margin), UNIT * (between[-1] + margin))


def _between(ladder: Float[Tensor, " n"]) -> Float[Tensor, " n-1"]:
    """Half-way between neighbours, in full widths: where an end makes one as likely as the other."""
    return (ladder[1:] + ladder[:-1]) / 2 / ladder[-1]


RELAXATIONS: dict[Relaxation, type[Softmax] | type[Threshold]] = {"threshold": Threshold, "softmax": Softmax}

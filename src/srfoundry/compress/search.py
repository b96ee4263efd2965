"""How many channels each inner width keeps: a differentiable search under a parameter budget that is met (DRC).

A unit's width is a softmax over a ladder of widths. Channels are ranked by the L1 norm of their weights, and channel c
is multiplied by the probability that the width reaches its rank, so that all widths share one convolution. Two things
differ from the released code, which bounds the ladder and leaves the rest to chance: the expected parameter count is
exact and differentiable (the count is linear in the widths) and held to the budget by a Lagrangian, and the final
widths are the likeliest ones that meet it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from srfoundry.errors import FoundryError
from srfoundry.fit import Log, cosine, fit
from srfoundry.networks.units import (
    Unit,
    convolution,
    importance_order,
    parameters_at,
    parameters_per_channel,
    widths_of,
)

Loss = Callable[[nn.Module, Mapping[int, Tensor]], dict[str, Tensor]]
Draw = Callable[[int], Mapping[int, Tensor]]
PENALTY = 20.0  # weight of the squared gap; the relative loss changes by a few per cent over the ladder
PRICE_RATE = 0.2  # the multiplier's step
GRID = 20_000  # parts into which the net's parameters are cut when the final widths are chosen


def candidates(channels: int, remove: float, shares: Sequence[float] = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)) -> list[int]:
    """The released code's six widths at a removal rate: multiples of four, capped at the rate, duplicates kept."""
    kept = [int(channels * (1 - remove) * share) for share in shares]
    return [min(max((width + 1) // 4 * 4, 4), channels) for width in kept]


def ladder(channels: int, multiple: int) -> list[int]:
    """Our widths: every multiple up to the full width; quarter steps in a unit narrower than two multiples.

    Narrow units hold few parameters: they let a budget be met closely, at widths that cost a runtime little.
    """
    step = multiple if channels >= 2 * multiple else max(1, multiple // 4)
    return sorted({*range(step, channels, step), channels})


def mixing(share: Float[Tensor, " n"], weight: Float[Tensor, "o c k k"], widths: Sequence[int]) -> Float[Tensor, " c"]:
    """Factor of each input channel: m_c = sum_i share_i [rank(c) < width_i] (DRC's importance-ordered sharing)."""
    order = importance_order(weight)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    reached = rank[None, :] < torch.tensor(widths, device=order.device)[:, None]
    return share @ reached.to(share)


class Widths(nn.Module):
    """The searched distribution: one logit vector a unit, and the price of the budget (a Lagrange multiplier)."""

    price: Tensor

    def __init__(self, ladders: Sequence[Sequence[int]], *, rng: torch.Generator) -> None:
        super().__init__()
        self.ladders = [list(widths) for widths in ladders]
        self.logits = nn.ParameterList([1e-3 * torch.randn(len(widths), generator=rng) for widths in ladders])
        self.register_buffer("price", torch.zeros(()))

    def shares(self, temperature: float = 1.0) -> list[Tensor]:
        """Probabilities of the widths of each unit."""
        return [torch.softmax(logits / temperature, dim=0) for logits in self.logits]

    def expected(self, shares: Sequence[Tensor]) -> Float[Tensor, " units"]:
        """Expected width of each unit."""
        return torch.stack(
            [share @ share.new_tensor(widths) for share, widths in zip(shares, self.ladders, strict=True)]
        )


@contextmanager
def mixed(
    net: nn.Module, units: Sequence[Unit], ladders: Sequence[Sequence[int]], shares: Sequence[Tensor]
) -> Iterator[None]:
    """Within, each unit's channels are multiplied by their mixing factors (at the consumer's input: the same thing)."""

    def gate(widths: Sequence[int], share: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor]]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
            assert isinstance(module, nn.Conv2d)
            factors = mixing(share, module.weight, widths)
            return (inputs[0] * factors.to(inputs[0].dtype)[:, None, None],)

        return hook

    handles = [
        convolution(net, unit.consumer).register_forward_pre_hook(gate(widths, share))
        for unit, widths, share in zip(units, ladders, shares, strict=True)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Closed(nn.Module):
    """A loss as a module's forward, so that `functional_call` can put other weights in."""

    def __init__(self, net: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.net, self.loss = net, loss

    def forward(self, batch: Mapping[int, Tensor]) -> Tensor:
        return self.loss(self.net, batch)["total"]


def outer_loss(
    net: nn.Module,
    loss: Loss,
    train: Mapping[int, Tensor],
    validation: Mapping[int, Tensor],
    *,
    order: Literal["first", "second"],
    inner_rate: float,
) -> Tensor:
    """L_val(w'(alpha), alpha), to be called inside `mixed`; its gradient in alpha is the search's.

    First order takes w' = w. Second order differentiates through w' = w - inner_rate * grad L_train(w, alpha), an exact
    Hessian-vector product by automatic differentiation (the released code's finite difference is off by a square).
    """
    closed = Closed(net, loss)
    if order == "first":
        return closed(validation)
    weights = {name: value for name, value in closed.named_parameters() if value.requires_grad}
    gradients = torch.autograd.grad(closed(train), list(weights.values()), create_graph=True)
    moved = {name: value - inner_rate * g for (name, value), g in zip(weights.items(), gradients, strict=True)}
    return functional_call(closed, moved, (validation,))


@dataclass(frozen=True)
class Budget:
    """Parameters of the whole net, and what a channel of each unit takes of them."""

    total: int
    dense: tuple[int, ...]
    costs: tuple[int, ...]

    @classmethod
    def of(cls, net: nn.Module, units: Sequence[Unit]) -> "Budget":
        """The budget of a dense net."""
        costs = tuple(parameters_per_channel(net, unit) for unit in units)
        total = parameters_at(net, units, widths_of(net, units))
        return cls(total, tuple(widths_of(net, units)), costs)

    def removed(self, widths: Sequence[int]) -> float:
        """Fraction of the parameters that is gone at these widths."""
        gone = sum(c * (full - kept) for c, full, kept in zip(self.costs, self.dense, widths, strict=True))
        return gone / self.total

    def expected_removed(self, widths: Float[Tensor, " units"]) -> Tensor:
        """The same for expected widths: exact, since the count is linear in them, and differentiable."""
        gone = (widths.new_tensor(self.dense) - widths) * widths.new_tensor(self.costs)
        return gone.sum() / self.total


def choose(
    ladders: Sequence[Sequence[int]], shares: Sequence[Tensor], budget: Budget, *, remove: float, tolerance: float
) -> list[int]:
    """The likeliest widths (sum of log probabilities) whose removed fraction is in [remove, remove + tolerance].

    A dynamic programme over the removed parameters. Where no combination lies in the band, the one that removes least
    above it is taken.

    Raises:
        FoundryError: even the narrowest widths remove less.
    """
    narrowest = budget.removed([widths[0] for widths in ladders])
    if narrowest < remove:
        raise FoundryError(
            f"search.remove must be at most {narrowest:.3f} for this network, got {remove}; lower it or search.multiple"
        )
    score = np.full(GRID + 1, -np.inf)
    score[0] = 0.0
    picks: list[np.ndarray] = []
    for widths, share, cost, full in zip(ladders, shares, budget.costs, budget.dense, strict=True):
        logs = share.detach().double().cpu().clamp_min(1e-30).log().numpy()
        best, pick = np.full(GRID + 1, -np.inf), np.zeros(GRID + 1, dtype=np.int64)
        for i, width in enumerate(widths):
            # rounded down: the true fraction is never below the one counted here
            gone = int(cost * (full - width) * GRID / budget.total)
            moved = np.full(GRID + 1, -np.inf)
            moved[gone:] = score[: GRID + 1 - gone] + logs[i]
            better = moved > best
            best[better], pick[better] = moved[better], i
        score = best
        picks.append(pick)
    first = int(np.ceil(remove * GRID))
    last = int((remove + tolerance) * GRID) - len(ladders)
    inside = score[first : last + 1]
    if inside.size and np.isfinite(inside).any():
        at = first + int(inside.argmax())
    else:
        at = first + int(np.isfinite(score[first:]).argmax())
    chosen: list[int] = []
    for widths, pick, cost, full in zip(
        reversed(ladders), reversed(picks), reversed(budget.costs), reversed(budget.dense), strict=True
    ):
        width = widths[pick[at]]
        chosen.append(width)
        at -= int(cost * (full - width) * GRID / budget.total)
    return chosen[::-1]


def search(
    net: nn.Module,
    units: Sequence[Unit],
    loss: Loss,
    draw: tuple[Draw, Draw],
    *,
    remove: float,
    tolerance: float,
    multiple: int,
    order: Literal["first", "second"],
    steps: int,
    learning_rate: float,
    width_rate: float,
    temperature: float,
    clip: float,
    rng: torch.Generator,
    trained: Sequence[nn.Module],
    checkpoint: Path,
    key: str,
    log: Log,
) -> tuple[list[int], list[dict[str, float]]]:
    """Search the units' widths (DRC): alpha on one half of the photographs, the weights on the other, in turns.

    Args:
        draw: the batch of a step from either half, for the weights and for alpha.
        trained: the modules whose weights the loss trains (the net, its dual nets); they are changed in place.
        temperature: of the softmax at the end; it falls from 1 geometrically, so that the mixture becomes a choice.
        width_rate, learning_rate: Adam's rates for alpha (constant) and for the weights (cosine to zero).
        rng: for the first logits.

    Returns:
        the widths, with a removed fraction in [remove, remove + tolerance] where the ladders allow it, and the curve.
    """
    budget = Budget.of(net, units)
    ladders = [ladder(full, multiple) for full in budget.dense]
    device = next(net.parameters()).device
    widths = Widths(ladders, rng=rng).to(device)
    weights = [value for module in trained for value in module.parameters() if value.requires_grad]
    inner = torch.optim.Adam(weights, lr=learning_rate, betas=(0.9, 0.99))
    outer = torch.optim.Adam(widths.parameters(), lr=width_rate, betas=(0.5, 0.99))
    target = remove + tolerance / 2

    def step(index: int) -> dict[str, Tensor | float]:
        train, validation = (half(index) for half in draw)
        heat = temperature ** (index / max(1, steps - 1))
        rate = cosine(index, steps, learning_rate)
        shares = widths.shares(heat)
        with mixed(net, units, ladders, shares):
            value = outer_loss(net, loss, train, validation, order=order, inner_rate=rate)
        removed = budget.expected_removed(widths.expected(shares))
        gap = target - removed
        # augmented Lagrangian on the relative loss; the price rises until the budget is met in expectation
        whole = value / value.detach() + widths.price * gap + PENALTY / 2 * gap.square()
        gradients = torch.autograd.grad(whole, list(widths.parameters()))
        for logits, gradient in zip(widths.parameters(), gradients, strict=True):
            logits.grad = gradient
        outer.step()
        widths.price += PRICE_RATE * gap.detach()
        fixed = [share.detach() for share in widths.shares(heat)]
        inner.zero_grad(set_to_none=True)
        for group in inner.param_groups:
            group["lr"] = rate
        with mixed(net, units, ladders, fixed):
            terms = loss(net, train)
        terms["total"].backward()
        nn.utils.clip_grad_norm_(weights, clip)
        inner.step()
        entropy = torch.stack([-(share * share.clamp_min(1e-12).log()).sum() for share in fixed]).mean()
        return {
            "validation": value.detach(),
            "train": terms["total"].detach(),
            "removed": removed.detach(),
            "price": widths.price.clone(),
            "entropy": entropy,
        }

    state = {"net": nn.ModuleList(trained), "widths": widths, "inner": inner, "outer": outer}
    history = fit(step, steps=steps, state=state, checkpoint=checkpoint, key=key, log=log, title="search")
    chosen = choose(ladders, widths.shares(temperature), budget, remove=remove, tolerance=tolerance)
    return chosen, history

"""What a network costs at other widths: parameters, multiply-adds or measured time, as one table a unit.

    cost(widths) = fixed + sum over units u of table_u[width_u]

Parameters and multiply-adds are affine in the widths, so this is exact; time is measured one kind of unit at a time
and close to it. The expected cost under probabilities of the widths is then exact too, and differentiable: what the
search holds to the budget is the number that the result is measured by.
"""

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.compression.latency import Clock, Runner, seconds, tables_of
from srfoundry.networks.sr.multiplications import multiplications
from srfoundry.networks.sr.prunable import (
    Unit,
    end_of,
    parameters_at,
    parameters_per_channel,
    thin,
    width_of,
    widths_of,
)

Ladders = Sequence[Sequence[int]]
Kind = tuple[object, ...]


def ladder(channels: int, multiple: int) -> list[int]:
    """Our widths: every multiple up to the full width; quarter steps in a unit narrower than two multiples.

    Narrow units cost little: they let a budget be met closely, at widths that cost a runtime little.
    """
    step = multiple if channels >= 2 * multiple else max(1, multiple // 4)
    return sorted({*range(step, channels, step), channels})


def ladders_of(net: nn.Module, units: Sequence[Unit], multiple: int) -> list[list[int]]:
    """The ladder of every unit of a dense net."""
    return [ladder(width, multiple) for width in widths_of(net, units)]


@dataclass(frozen=True)
class Budget:
    """The cost of a net as a function of its widths; each ladder ascends to the full width.

    `total` is the dense net's; `tables` hold the cost of each width of each unit's ladder.
    """

    total: float
    ladders: tuple[tuple[int, ...], ...]
    tables: tuple[tuple[float, ...], ...]

    @classmethod
    def parameters(cls, net: nn.Module, units: Sequence[Unit], ladders: Ladders) -> "Budget":
        """Parameters; exact."""
        costs = [parameters_per_channel(net, unit) for unit in units]
        tables = [[float(cost * width) for width in widths] for cost, widths in zip(costs, ladders, strict=True)]
        return cls._of(float(parameters_at(net, units, widths_of(net, units))), ladders, tables)

    @classmethod
    def multiplications(
        cls, net: nn.Module, units: Sequence[Unit], ladders: Ladders, low: Float[Tensor, "b c h w"]
    ) -> "Budget":
        """Multiply-adds of one pass over an image like `low`; exact, from passes that compute nothing."""
        hollow, image = copy.deepcopy(net).to("meta"), low.to("meta")
        total = multiplications(hollow, image)
        costs: dict[Kind, int] = {}
        units_kinds = kinds(hollow, units, image)
        for unit, kind in zip(units, units_kinds, strict=True):
            if kind not in costs and width_of(net, unit) > 1:
                fewer = thin(hollow, [unit], [torch.arange(width_of(net, unit) - 1)])
                costs[kind] = total - multiplications(fewer, image)
        tables = [
            [float(costs.get(kind, 0) * width) for width in widths]
            for kind, widths in zip(units_kinds, ladders, strict=True)
        ]
        return cls._of(float(total), ladders, tables)

    @classmethod
    def latency(
        cls,
        net: nn.Module,
        units: Sequence[Unit],
        ladders: Ladders,
        low: Float[Tensor, "b c h w"],
        *,
        runner: Runner,
        rounds: int = 15,
        clock: Clock = seconds,
    ) -> "Budget":
        """Seconds of one pass over `low`, as measured here and now (compression.latency): never twice the same."""
        alike = kinds(net, units, low)
        total, tables = tables_of(net, units, ladders, low, alike, runner=runner, rounds=rounds, clock=clock)
        return cls._of(float(total), ladders, tables)

    @classmethod
    def _of(cls, total: float, ladders: Ladders, tables: Sequence[Sequence[float]]) -> "Budget":
        return cls(total, tuple(map(tuple, ladders)), tuple(map(tuple, tables)))

    @property
    def dense(self) -> list[int]:
        """The full widths."""
        return [widths[-1] for widths in self.ladders]

    def cost(self, widths: Sequence[int | float]) -> float:
        """Cost of the net at these widths; between two of a ladder by interpolation, which is exact where it is affine.

        Raises:
            ValueError: a width is outside its ladder.
        """
        gone = 0.0
        for width, steps, table in zip(widths, self.ladders, self.tables, strict=True):
            if not steps[0] <= width <= steps[-1]:
                raise ValueError(f"a width must be {steps[0]} to {steps[-1]}, got {width}; use one of {list(steps)}")
            gone += table[-1] - float(np.interp(width, steps, table))
        return self.total - gone

    def removed(self, widths: Sequence[int | float]) -> float:
        """Fraction of the dense net's cost that is gone at these widths."""
        return (self.total - self.cost(widths)) / self.total

    def expected_removed(self, shares: Sequence[Float[Tensor, " _"]]) -> Tensor:
        """Expectation of the removed fraction under probabilities of each unit's widths; differentiable."""
        gone = [share @ (table[-1] - share.new_tensor(table)) for share, table in zip(shares, self.tables, strict=True)]
        return torch.stack(gone).sum() / self.total

    def most(self) -> float:
        """The largest fraction that these ladders can remove."""
        return self.removed([widths[0] for widths in self.ladders])


def kinds(net: nn.Module, units: Sequence[Unit], low: Float[Tensor, "b c h w"]) -> list[Kind]:
    """Units of equal kind cost the same: their layers have equal shapes and work on images of equal size."""
    sizes: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            sizes[name] = tuple(output.shape)

        return hook

    with ExitStack() as stack, torch.no_grad():
        for name in {name for unit in units for name in (unit.producer, unit.consumer)}:
            stack.callback(end_of(net, name).register_forward_hook(note(name)).remove)
        net(low)
    return [
        (
            *(
                each
                for name in (unit.producer, unit.consumer)
                for each in (end_of(net, name).weight.shape, sizes[name])
            ),
            *(end_of(net, name).bias is None for name in (unit.producer, unit.consumer)),
            *(unit.fold, unit.copies, unit.spans, len(unit.gates)),
        )
        for unit in units
    ]

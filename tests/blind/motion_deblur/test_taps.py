"""The descent of the taps: none of its steps asks the device for a number, and it ends where the kernel is."""

import math
from collections.abc import Mapping, Sequence
from types import FunctionType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from srfoundry.blind.motion_deblur import taps
from srfoundry.core.seeds import generator


class Waits(TorchDispatchMode):
    """Counts how often a number is asked for, which a GPU would be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self,
        func: FunctionType,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def quadratic(dtype: torch.dtype) -> taps.Equations:
    """Ill-conditioned, so that the momentum starts anew now and then."""
    drawn = torch.randn(40, 25, generator=generator(2, "quadratic"), dtype=torch.float64)
    gram = drawn.mT @ (torch.logspace(0, -4, 40, dtype=torch.float64)[:, None] * drawn)
    wanted = torch.rand(25, generator=generator(2, "wanted"), dtype=torch.float64)
    return gram.to(dtype), (gram @ (wanted / wanted.sum())).to(dtype)


def stepwise(normal: taps.Equations, start: Tensor, *, steps: int, powers: int, margin: float) -> tuple[Tensor, int]:
    """The descent with a momentum that is a number; how often it started anew, too."""
    gram, right = normal
    steepest = torch.ones_like(right)
    for _ in range(powers):
        steepest = gram @ steepest
        steepest = steepest / steepest.norm()
    pace = 1 / (margin * float(steepest @ (gram @ steepest)))
    kernel = ahead = start
    momentum, restarts = 1.0, 0
    for _ in range(steps):
        following = taps.on_simplex(ahead - pace * (gram @ ahead - right))
        if float((ahead - following) @ (following - kernel)) > 0:
            momentum, restarts = 1.0, restarts + 1
        faster = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = following + (momentum - 1) / faster * (following - kernel)
        kernel, momentum = following, faster
    return kernel, restarts


def test_no_step_waits_for_a_number() -> None:
    normal, counts = quadratic(torch.float64), []
    for steps in (5, 50):
        with Waits() as waits:
            taps.solve(normal, ridge=1e-3, smooth=1e-3, steps=steps)
        counts.append(waits.count)
    assert counts[0] == counts[1] <= 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_momentum_starts_anew_as_in_the_formula(dtype: torch.dtype) -> None:
    """To the bit: kernels that were found before are found again."""
    normal, start = quadratic(dtype), torch.full((25,), 1 / 25, dtype=dtype)
    wanted, restarts = stepwise(normal, start, steps=800, powers=15, margin=1.05)
    assert restarts > 1
    assert torch.equal(taps.descended(normal, start, steps=800, powers=15, margin=1.05), wanted)


def test_what_is_no_number_stays_none() -> None:
    assert bool(taps.on_simplex(torch.full((4,), math.nan)).isnan().all())

"""What goes into the solver and what comes out: instances of a problem, and their solution."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from srfoundry.core.errors import FoundryError
from srfoundry.solver.settings import SolverSettings

Data = tuple[Tensor, ...]
Loss = Callable[[Tensor, Data], Tensor]  # (rows' variables `n *shape`, rows' data) -> `n`, less is better
Constraint = Callable[[Tensor, Data], Tensor]  # brings rows' variables to where they may be
Inner = Callable[[Tensor, Data], None]  # improves the other block of variables, given this one


@dataclass(frozen=True)
class Instances:
    """Instances of one problem, to be solved together.

    Args:
        objective: of each row; less is better.
        constraint: brings rows' variables to where they may be.
        data: what objective, constraint and the other losses take, each with a leading instance axis.
        base: where the variables start, `b r *shape` or `b 1 *shape`; None = at 0, which needs a code of your own. The
            solution is never worse than it, unless `inner` changes what the objective depends on.
        code: the net's input: slope = the objective's at the base (reparam) or at the iterate (iterate) | noise = a
            fixed normal draw of the slope's length | your own, `b ...`, fixed.
        auxiliary: further losses on the weights, not counted when the best iterate is chosen (a prior's pull).
        inner: called each step with the variables, before the objective: it may improve the other block.
    """

    objective: Loss
    constraint: Constraint
    data: Data = ()
    base: Float[Tensor, "b r ..."] | None = None
    code: Tensor | Literal["slope", "noise"] = "slope"
    auxiliary: Sequence[Loss] = ()
    inner: Inner | None = None

    def __len__(self) -> int:
        return len(self._given()[0])

    @property
    def like(self) -> Tensor:
        """A tensor of the variables' type and device."""
        return self._given()[-1] if self.base is None else self.base

    def check(self, settings: SolverSettings) -> None:
        """Raise FoundryError if these instances do not fit together, or cannot be solved like this."""
        own = isinstance(self.code, Tensor)
        if self.base is None and (not own or settings.mode == "iterate"):
            code = "of your own" if own else self.code
            raise FoundryError(
                f"solver needs a base point for mode {settings.mode} with code {code}, got none; give base, or reparam "
                "with a code"
            )
        given = self._given()
        if len({len(part) for part in given}) != 1:
            raise FoundryError(f"solver needs one leading instance axis, got {[list(part.shape) for part in given]}")
        if self.inner is not None and settings.tolerance > 0:
            raise FoundryError(
                f"solver cannot stop rows early beside an inner block, got tolerance {settings.tolerance}; set it to 0"
            )
        if self.base is not None and self.base.shape[1] not in (1, settings.restarts):
            raise FoundryError(f"base must have 1 or {settings.restarts} starts an instance, got {self.base.shape[1]}")

    def _given(self) -> list[Tensor]:
        return [part for part in (*self.data, self.base, self.code) if isinstance(part, Tensor)]


@dataclass(frozen=True)
class Solution:
    """What `solve` found; of each instance the best iterate of the best restart."""

    variable: Float[Tensor, "b ..."]
    loss: Float[Tensor, " b"]
    restart: Int[Tensor, " b"]
    losses: Float[Tensor, "b r"]
    """Best objectives of every restart."""
    finals: Float[Tensor, "b r ..."]
    """Last iterates of every restart."""
    trajectory: Float[Tensor, "t b"]
    """Each instance's best objective so far after each step, the base point's included."""
    steps: Int[Tensor, " b"]
    """How many its longest restart took."""

"""What the solver is asked, and what it answers: instances of a problem, how to go about them, and what was found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from srfoundry.core.errors import FoundryError

Data = tuple[Tensor, ...]
Loss = Callable[[Tensor, Data], Tensor]  # (rows' variables `n *shape`, rows' data) -> `n`, less is better
Constraint = Callable[[Tensor, Data], Tensor]  # brings rows' variables to where they may be
Inner = Callable[[Tensor, Data], None]  # improves the other block of variables, given this one


@dataclass(frozen=True)
class Settings:
    """How to solve.

    mode: see `solver`. rate: of Adam over the net's weights. fall: rate and skip end, by a cosine, at this share.
    accumulate: losses T that are summed before the weights move; an iterate's step is felt through all T.
    restarts: nets an instance. langevin: noise on the weights, in units of sqrt(2 rate).
    normalise: slopes of length 1 as the code; then G's output is in units of the variable's length.
    skip: share of that length that iterates go down the slope without being asked.
    patience, tolerance: a row stops when its best objective gained less than this share in so many steps; 0 = never.
    """

    mode: Literal["reparam", "iterate"] = "reparam"
    steps: int = 500
    rate: float = 1e-2
    fall: float = 1.0
    accumulate: int = 1
    restarts: int = 1
    langevin: float = 0.0
    normalise: bool = False
    skip: float = 0.0
    patience: int = 50
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if min(self.steps, self.accumulate, self.restarts, self.patience) < 1:
            raise FoundryError(f"solver needs steps, accumulate, restarts and patience of 1 or more, got {self}")
        if not (self.rate > 0 and self.fall >= 0 and self.langevin >= 0 and self.tolerance >= 0):
            raise FoundryError(f"solver needs a rate above 0, and no negative values, got {self}")
        if self.skip < 0 or (self.skip > 0 and not (self.mode == "iterate" and self.normalise)):
            raise FoundryError(f"solver needs a skip of 0, or above with mode iterate and normalise, got {self}")


@dataclass(frozen=True)
class Instances:
    """Instances of one problem, to be solved together.

    data: what the objective, the constraint and the other losses know, each with a leading instance axis.
    base: where the variables start, `b r *shape` or `b 1 *shape`; None = at 0, which needs a code of your own. The
    answer is never worse than it, unless `inner` changes what the objective looks at.
    code: what the net sees: slope = the objective's at the base (reparam) or at the iterate (iterate) | noise = a fixed
    normal draw of the slope's length | your own, `b ...`, fixed.
    auxiliary: further losses on the weights, not counted when the best iterate is chosen (a prior's pull).
    inner: called each step with the variables, before the objective looks: it may improve what that looks at.
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

    def check(self, settings: Settings) -> None:
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
    """What `solve` found; of each instance the best iterate of the best restart.

    `finals` and `losses` are of every restart: the last iterates, and the best objectives. `trajectory` has each
    instance's best objective so far after each step (the base point's included), `steps` how many its longest restart
    took.
    """

    variable: Float[Tensor, "b ..."]
    loss: Float[Tensor, " b"]
    restart: Int[Tensor, " b"]
    losses: Float[Tensor, "b r"]
    finals: Float[Tensor, "b r ..."]
    trajectory: Float[Tensor, "t b"]
    steps: Int[Tensor, " b"]

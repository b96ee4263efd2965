"""How the per-instance optimiser goes about its instances. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Literal

from srfoundry.core.errors import FoundryError

Mode = Literal["reparam", "iterate"]


@dataclass(frozen=True)
class SolverSettings:
    """How to solve instances of a problem.

    Args:
        mode: `reparam` has x = constraint(base + G(code)), `iterate` x <- constraint(x + G(slope at x)).
        steps: of the variables.
        rate: of Adam over the net's weights.
        fall: share of the first rate and skip at which they end, by a cosine.
        accumulate: losses T that are summed before the weights move; their gradient runs through all T iterates.
        restarts: nets an instance.
        langevin: noise on the weights, in units of sqrt(2 rate).
        normalise: slopes of length 1 as the code; then G's output is in units of the variable's length.
        skip: share of that length that iterates go down the slope beside G's step.
        patience: steps in which a row's best objective has to gain, with a tolerance above 0.
        tolerance: share of it that it has to gain, or the row stops; 0 never stops.

    Raises:
        FoundryError: values that cannot be, or do not go together.
    """

    mode: Mode = "reparam"
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

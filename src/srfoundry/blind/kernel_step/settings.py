"""What params.yaml says of the cases that the learned step to a kernel learns from. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from srfoundry.core.ranges import Count


@dataclass(frozen=True, kw_only=True)
class CaseSettings:
    """Photographs behind blurs, whose kernels are looked for.

    Args:
        cases: how many; each gives as many examples as there are rounds.
        patch: high-resolution pixels a side of each, a multiple of the scales.
        noise: largest standard deviation, range [0, 1]; most have none.
        softness: largest variance, px^2, of the blur that some of the photographs have of their own.
        batch: examples of a step of the descent.
    """

    cases: Count
    patch: Annotated[int, Field(ge=96)]
    noise: Annotated[float, Field(ge=0, le=0.2)]
    softness: Annotated[float, Field(ge=0, le=2)]
    batch: Count

"""What params.yaml says of the windows that unfolded estimation learns from, section unfolded. Nothing heavy."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from srfoundry.core.ranges import Count


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """The windows of a training step.

    Args:
        look: low-resolution pixels a side at scale 2; an eighth less with each further scale.
        octave: share of the windows that show a photograph at half size, where one is large enough.
        batch: windows a step, each with a blur, noise and compression of its own.
        softness: largest variance, px^2, of the blur that some of the photographs have of their own.
    """

    look: Annotated[int, Field(ge=16)]
    octave: Annotated[float, Field(ge=0, le=1)]
    batch: Count
    softness: Annotated[float, Field(ge=0, le=2)]

    def side(self, scale: int) -> int:
        """Low-resolution pixels a side at a scale, a multiple of 4."""
        return max(16, self.look * (10 - scale) // 32 * 4)

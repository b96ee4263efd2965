"""What params.yaml says of a training: the patches of a step, and how the weights move. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from srfoundry.core.ranges import Count, Rate, Steps


@dataclass(frozen=True, kw_only=True)
class PatchDraw:
    """The patches of a training step.

    Args:
        patch: high-resolution pixels a side, a multiple of the scale.
        octave: share of the patches that show a photograph at half size, 0 to 1.
        batch: patches a step.
        permuted: share of the patches whose colour channels come in a random order, 0 to 1: few photographs hold few
            colours, and a network shifts those that it never met.
    """

    patch: Annotated[int, Field(ge=16)]
    octave: Annotated[float, Field(ge=0, le=1)]
    batch: Count
    permuted: Annotated[float, Field(ge=0, le=1)] = 0.0

    @property
    def halved(self) -> int:
        """How many of a step's patches show a photograph at half size."""
        return round(self.batch * self.octave)


@dataclass(frozen=True, kw_only=True)
class Descent:
    """How weights move: Adam under a cosine to zero, its gradient clipped, the weights averaged.

    Args:
        steps: of the training.
        learning_rate: the largest, after the warm-up.
        warmup: steps in which the rate climbs linearly.
        average: decay of the weights' exponential average, a step; 0 keeps the last weights.
        clip: largest norm of the gradient.
    """

    steps: Steps
    learning_rate: Rate
    warmup: Steps
    average: Annotated[float, Field(ge=0, lt=1)]
    clip: Annotated[float, Field(gt=0)]

"""What params.yaml says of the trained networks of blind restoration, section nonblind. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from srfoundry.core.ranges import Rate, Steps


@dataclass(frozen=True, kw_only=True)
class TrainingDegradations:
    """What photographs are degraded with to train the non-blind network.

    Args:
        noise: largest standard deviation, range [0, 1]; half of the images have none.
        motion: share of the kernels that are motion blurs; the others are Gaussians.
    """

    noise: Annotated[float, Field(ge=0, le=0.2)]
    motion: Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class SampleCollection:
    """The restorations with wrong kernels that the corrector learns from.

    Args:
        samples: how many.
        sample_patch: high-resolution pixels a side of each.
        photograph_softness: largest variance, px^2, of the blur that some of the photographs have of their own, which
            is no part of the kernel; 0 leaves all of them as they are.
    """

    samples: Annotated[int, Field(ge=40)]
    sample_patch: Annotated[int, Field(ge=32)]
    photograph_softness: Annotated[float, Field(ge=0, le=2)]


@dataclass(frozen=True, kw_only=True)
class CorrectorDescent:
    """How the corrector's weights move: AdamW under a cosine to zero.

    Args:
        steps: of the training.
        rate: the largest, after a warm-up over a tenth of the steps.
    """

    steps: Steps
    rate: Rate


@dataclass(frozen=True, kw_only=True)
class ClassifierDescent:
    """How the classifier of degradations learns what happened to images: AdamW under a cosine to zero.

    Args:
        windows: of photographs that it learns from.
        steps: of the training.
        rate: the largest, after a warm-up over a tenth of the steps.
    """

    windows: Annotated[int, Field(ge=40)]
    steps: Steps
    rate: Rate

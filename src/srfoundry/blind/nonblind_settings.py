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
        steps: of the training. After too many it knows the windows by heart. Of 326 photographs, cross entropy on
            windows of 163 others (x2): with 20,000 windows and 3,000 steps 1.61, with 89,000 and 3,000, 6,000 and
            12,000 steps 1.19, 1.24 and 1.38. Of 13 photographs: with 6,000 and 1,500 steps 2.47, with 20,000 and 1,500
            and 3,000 steps 1.54 and 1.85, with 30,000 and 1,000 steps 1.44.
        rate: the largest, after a warm-up over a tenth of the steps.
    """

    windows: Annotated[int, Field(ge=40)]
    steps: Steps
    rate: Rate

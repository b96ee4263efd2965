"""What params.yaml says of sampling a diffusion model, section diffuse. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from srfoundry.core.ranges import Rate


@dataclass(frozen=True, kw_only=True)
class DiffusionSampler:
    """How an image is sampled (DiffPIR, Zhu et al., CVPRW 2023).

    Args:
        evaluations: of the denoiser (NFE).
        start: noise of the first one, standard deviation, image range [0, 1]; 1 hides nearly all.
        guidance: lambda, how little the data step trusts the image.
        renoise: zeta, the share of the noise that is drawn anew.
        floor: the least deviation of the image that the data step believes in, since no kernel is exact, range [0, 1].
        learn: share of the evaluations in which a kernel learns; in the others, the last at least, it is held.
    """

    evaluations: Annotated[int, Field(ge=2, le=1000)]
    start: Annotated[float, Field(gt=0.01, le=50)]
    guidance: Annotated[float, Field(gt=0)]
    renoise: Annotated[float, Field(ge=0, le=1)]
    floor: Annotated[float, Field(ge=0, le=0.5)]
    learn: Rate

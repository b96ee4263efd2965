"""How likely kernels are, as DKP weighs them: by the residual of the sharp image so far, made a likelihood.

While that image is frozen this is a weak signal: `degradation.spectral_likelihood` integrates it out, and
stands beside.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.degradation.observation import Sampling
from srfoundry.degradation.spectral_likelihood import ROUNDING

Score = Callable[[Float[Tensor, "n k k"]], Float[Tensor, " n"]]  # log p(y | kernel), up to a constant


def residual_likelihood(
    image: Float[Tensor, "1 3 H W"], low: Float[Tensor, "1 3 h w"], sampling: Sampling, *, noise: float
) -> Score:
    """log p(y | x, k) = -|y - (x * k) down|^2 / (2 v), v the least such error: DKP's weights, made a likelihood.

    A frozen image fits best the kernel that it was made with: a weaker signal than the spectrum's.

    Args:
        image: x, the sharp image so far.
        low: y.
        sampling: scale, decimation and border.
        noise: standard deviation of the noise of `low`, range [0, 1]; v is not less than its square.
    """

    def score(family: Float[Tensor, "n k k"]) -> Float[Tensor, " n"]:
        with torch.no_grad():
            made = sampling.degrade(image.expand(len(family), -1, -1, -1), family.to(image))
        error = (made - low).square().mean(dim=(1, 2, 3)).double()
        level = error.min().clamp_min(max(noise, ROUNDING) ** 2)
        return -0.5 * low.numel() * error / level

    return score

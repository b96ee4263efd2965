"""Iterative back-projection (Irani and Peleg 1991): move an image until, degraded again, it is its input.

MZSR's form: x <- clip(x + up(y - A x), 0, 1), four times. With the filter of a known blur as `up`
(linear_enlargement.py) it comes closer in one step than with cubic enlargement in four; further steps fit the rounding
of an 8-bit input. Where blur acted on light (`Sampling.light`), A has the curve of the levels in it and is not linear:
the steps then lead from a restoration that took it for linear to one that does not.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.core.errors import FoundryError
from srfoundry.degradation import linear_enlargement
from srfoundry.degradation.observation import Observation
from srfoundry.imaging import resize

STEPS = 4
LIGHT = 2  # steps where blur acted on light: more help Gaussians and discs by 0.2 dB, and cost lines as much
CURVED = 0.5 / 255  # noise that is supposed where light was blurred: the filter of encoded levels is wrong by as much


def close(
    restored: Float[Tensor, "b c H W"],
    observation: Observation,
    *,
    steps: int = STEPS,
    how: linear_enlargement.How = "bicubic",
) -> Float[Tensor, "b c H W"]:
    """Return the image after `steps` back-projections.

    Args:
        restored: an enlargement of the observed image, range [0, 1].
        observation: the image y and how it came about.
        steps: 0 returns `restored` as it is.
        how: what enlarges the residual.

    Raises:
        FoundryError: sizes of images, kernel and scale do not fit each other.
    """
    low, kernel, scale = observation.low, observation.kernel, observation.scale
    if any(-(-big // scale) != small for big, small in zip(restored.shape[-2:], low.shape[-2:], strict=True)):
        raise FoundryError(
            f"an image of {tuple(restored.shape[-2:])} is no x{scale} enlargement of one of {tuple(low.shape[-2:])}; "
            "give the two that belong together"
        )
    fitted = None
    if steps and how == "linear":
        noise = max(observation.noise, CURVED) if observation.sampling.light else observation.noise
        fitted = linear_enlargement.fitted(low, kernel, scale, decimation=observation.decimation, noise=noise)
    for _ in range(steps):
        error = low - observation.degrade(restored)
        if fitted is None:  # of an image that is no multiple of the scale, too
            correction = resize.cubic(error, scale, size=(restored.shape[-2], restored.shape[-1]))
        else:
            correction = fitted(error)
            correction = correction[..., : restored.shape[-2], : restored.shape[-1]]
        restored = (restored + correction).clamp(0, 1)
    return restored


def consistency(restored: Float[Tensor, "1 3 H W"], observation: Observation) -> float:
    """PSNR in dB over RGB between the input and the restored image degraded again as the input was: D(SR) = LR."""
    error = (observation.degrade(restored) - observation.low).square().mean().clamp_min(1e-12)
    return float(-10 * torch.log10(error))

"""Iterative back-projection (Irani and Peleg 1991): move an image until, degraded again, it is its input.

MZSR's form: x <- clip(x + up(y - D x), 0, 1), four times. With the filter of a known blur as `up` (enlarge.py) it comes
closer in one step than with cubic enlargement in four; further steps fit the rounding of an 8-bit input.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.core.errors import FoundryError
from srfoundry.degradation import linear_enlargement, operator
from srfoundry.imaging import resize

STEPS = 4


def close(
    restored: Float[Tensor, "b c H W"],
    low: Float[Tensor, "b c h w"],
    kernel: Float[Tensor, "1 k k"] | None,
    scale: int,
    *,
    steps: int = STEPS,
    decimation: operator.Decimation = "direct",
    how: linear_enlargement.How = "bicubic",
) -> Float[Tensor, "b c H W"]:
    """Return the image after `steps` back-projections.

    Args:
        kernel: the blur; None means MATLAB's bicubic reduction.
        how: what enlarges the residual.

    Raises:
        FoundryError: sizes of images, kernel and scale do not fit each other.
    """
    if any(-(-big // scale) != small for big, small in zip(restored.shape[-2:], low.shape[-2:], strict=True)):
        raise FoundryError(
            f"an image of {tuple(restored.shape[-2:])} is no x{scale} enlargement of one of {tuple(low.shape[-2:])}; "
            "give the two that belong together"
        )
    for _ in range(steps):
        error = low - again(restored, kernel, scale, decimation=decimation)
        if how == "bicubic":  # of an image that is no multiple of the scale, too
            correction = resize.cubic(error, scale, size=(restored.shape[-2], restored.shape[-1]))
        else:
            correction = linear_enlargement.enlarge(error, kernel, scale, how=how, decimation=decimation)
            correction = correction[..., : restored.shape[-2], : restored.shape[-1]]
        restored = (restored + correction).clamp(0, 1)
    return restored


def again(
    restored: Float[Tensor, "b c H W"],
    kernel: Float[Tensor, "1 k k"] | None,
    scale: int,
    *,
    decimation: operator.Decimation = "direct",
) -> Float[Tensor, "b c h w"]:
    """D x: the image blurred and reduced again; neither rounded nor clipped."""
    if kernel is None:
        return resize.cubic(restored, 1 / scale)
    return operator.degrade(restored, kernel, scale, decimation=decimation)


def consistency(
    restored: Float[Tensor, "1 3 H W"],
    low: Float[Tensor, "1 3 h w"],
    kernel: Float[Tensor, "1 k k"] | None,
    scale: int,
    *,
    decimation: operator.Decimation = "direct",
) -> float:
    """PSNR in dB over RGB between the input and the restored image after the same blur and decimation: D(SR) = LR."""
    error = (again(restored, kernel, scale, decimation=decimation) - low).square().mean().clamp_min(1e-12)
    return float(-10 * torch.log10(error))

"""The noise of an image, from the image alone."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.core.errors import FoundryError

ENOUGH = 4  # patches for each value in one
PATCH = 5  # pixels a side of the patches whose covariance is looked at
SILENT = 0.9 / 255  # less than this is texture and rounding
ROUNDING = 1 / 255 / math.sqrt(12)
PIXELS = 2**18  # of an image that are looked at: its middle, if it has more


def estimate_noise(image: Float[Tensor, "1 c h w"], *, patch: int = PATCH) -> float:
    """Standard deviation of white Gaussian noise, in the image's range (Chen, Zhu and Heng, ICCV 2015).

    Patches of a photograph lie near a subspace; the eigenvalues of their covariance outside of it are the noise's
    variance. The largest eigenvalues are left out one by one until mean and median of the rest agree. Colours that
    are equal count once, and small images are looked at in smaller patches: there must be more of these than values
    in each.

    Raises:
        FoundryError: the image has less than two patches of 2x2 pixels.
    """
    height, width = image.shape[-2:]
    if bool((image == image[:, :1]).all()):
        image = image[:, :1]
    while patch > 2 and (height - patch + 1) * (width - patch + 1) < ENOUGH * image.shape[1] * patch**2:
        patch -= 1
    if min(height, width) < patch or height * width <= patch**2:
        raise FoundryError(
            f"noise is estimated from several patches of {patch}x{patch} pixels, got an image of {height}x{width}; "
            "give a larger one, or its noise"
        )
    side = int(PIXELS**0.5)
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    seen = image[..., top : top + side, left : left + side].double()
    patches = seen.unfold(2, patch, 1).unfold(3, patch, 1).permute(2, 3, 0, 1, 4, 5).flatten(0, 2).flatten(1)
    values = torch.linalg.eigvalsh(torch.cov(patches.T)).clamp_min(0)  # smallest first
    for kept in range(len(values), 1, -1):
        rest = values[:kept]
        if rest.mean() <= rest.median():
            break
    else:
        rest = values[:1]
    return float(rest.mean().sqrt())


def known_noise(low: Float[Tensor, "1 c h w"]) -> float:
    """Noise as restorers take it: rounding to 8 bits, which is always there, does not count."""
    found = estimate_noise(low)
    return 0.0 if found < SILENT else math.sqrt(found**2 - ROUNDING**2)

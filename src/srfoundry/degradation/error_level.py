"""How wrong the pixels of an image may be, from the image alone: its noise, and the error of a JPEG compression.

To a restorer that undoes a blur the error of a compression is much like noise. Its size follows from the quality, and
that is seen in the pixels or said by the file.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.degradation.noise_level import known_noise
from srfoundry.imaging import jpeg_history, windows

GROWTH = 1.3 / 255  # of the error with the root of the mean step of coefficients; fitted on BSD400
SIDE = 512  # pixels a side that the compression is looked for in, the busiest


def error_level(low: Float[Tensor, "1 3 h w"], quality: int | None = None) -> float:
    """Standard deviation of noise and compression together, range [0, 1]; rounding to 8 bits does not count.

    Args:
        low: range [0, 1].
        quality: of the JPEG that its file is, or that errs as much, 1 to 100; pixels may show a worse one of before.

    Raises:
        FoundryError: the image is too small to have its noise estimated.
    """
    seen = windows.crop(low, windows.busiest(low, SIDE, energy="edges"))
    weights = torch.tensor(jpeg_history.LUMA, dtype=torch.float64, device=low.device).view(3, 1, 1)
    luma = (255 * seen[0].double() * weights).sum(dim=0)
    seen_luma = [np.asarray(luma.cpu())]
    found = [quality, jpeg_history.quality_seen(seen_luma) or jpeg_history.faint_quality_seen(seen_luma)]
    errors = [jpeg_error(each) for each in found if each is not None]
    return math.hypot(known_noise(low), max(errors, default=0.0))


def jpeg_error(quality: int) -> float:
    """Standard deviation of the error of a JPEG of a blurred photograph, range [0, 1].

    Args:
        quality: of libjpeg, 1 to 100.
    """
    return GROWTH * math.sqrt(float(jpeg_history.steps(quality)[jpeg_history.LOW].mean()))

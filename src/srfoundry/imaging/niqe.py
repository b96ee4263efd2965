"""How natural an image looks, with no original to compare it with: NIQE (Mittal, Soundararajan and Bovik 2013).

Statistics of an image's blocks of 96 pixels are set against those of 125 undamaged photographs: the smaller the
distance, the more natural. 3 to 4 is a good photograph, 6 and more a blurred, noisy or blocky one. It knows nothing
of what was there: an invented texture is as good to it as a true one, and it forgives too much sharpness sooner than
too little. So it stands beside PSNR and SSIM, never in their place.

The photographs' mean and covariance are the authors' own (niqe_pristine.npz, licence in niqe_licence.txt). Protocol as
in the literature on super-resolution: Y of ITU-R BT.601, rounded to 8 bits, border cropped by the scale.
"""

import math
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from srfoundry.imaging import resize
from srfoundry.imaging.images import from_uint8, matlab_luma, to_uint8

BLOCK = 96  # pixels a side, as the photographs' statistics were taken
LEAST = 2  # blocks: fewer have no covariance; some twenty make a steady figure
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))  # to the neighbours: across, down, and along both diagonals
FLAT = 1e-9  # of 255: a smaller difference is an error of rounding
SHAPES = (0.2, 10.0, 0.001)  # alpha is sought from, to, in steps of


def niqe(image: Float[Tensor, "1 3 h w"], border: int = 0) -> float | None:
    """Distance of an image's statistics from those of undamaged photographs (equation 10 of the paper).

    Args:
        image: range [0, 1]; rounded to 8 bits first.
        border: pixels to crop on each side.

    Returns:
        0 or more, smaller is better. None where fewer than two blocks of 96 x 96 pixels have any structure: too small
        an image, or an empty one.
    """
    y = matlab_luma(from_uint8(to_uint8(image), torch.float64)).cpu().round()
    height, width = y.shape[-2:]
    y = y[..., border : height - border, border : width - border]
    rows, columns = (extent // BLOCK for extent in y.shape[-2:])
    if rows * columns < LEAST:
        return None
    y = y[..., : rows * BLOCK, : columns * BLOCK]
    halved = resize.cubic(y / 255, 0.5) * 255
    found = torch.cat([_features(y, BLOCK), _features(halved, BLOCK // 2)], dim=1)
    whole = found[~found.isnan().any(dim=1)]
    if len(whole) < LEAST:
        return None
    mean, covariance = _pristine()
    apart = mean - found.nanmean(dim=0)
    inverse = torch.linalg.pinv((covariance + torch.cov(whole.T)) / 2)
    return math.sqrt(float(apart @ inverse @ apart))


@cache
def _pristine() -> tuple[Float[Tensor, " 36"], Float[Tensor, "36 36"]]:
    """Mean and covariance of the features of undamaged photographs."""
    with np.load(Path(__file__).with_name("niqe_pristine.npz"), allow_pickle=False) as stored:
        return torch.from_numpy(stored["mean"]), torch.from_numpy(stored["covariance"])


def _features(y: Float[Tensor, "1 1 h w"], side: int) -> Float[Tensor, "blocks 18"]:
    """Shape and spread of each block's normalised pixels, and of their products with four neighbours."""
    flat = _normalised(y)[0, 0]
    blocks = flat.unflatten(0, (-1, side)).unflatten(2, (-1, side)).transpose(1, 2).flatten(0, 1)
    alpha, left, right = _fitted(blocks)
    found = [alpha, (left + right) / 2]
    for shift in SHIFTS:
        alpha, left, right = _fitted(blocks * blocks.roll(shift, dims=(1, 2)))
        mean = (right - left) * (torch.lgamma(2 / alpha) - torch.lgamma(1 / alpha)).exp()  # equation 8
        found += [alpha, mean, left, right]
    return torch.stack(found, dim=1)


def _normalised(y: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "1 1 h w"]:
    """Pixels less their local mean, over their local deviation (equation 1)."""
    axis = torch.arange(-3, 4, dtype=y.dtype)
    window = torch.exp(-(axis**2) / (2 * (7 / 6) ** 2))
    window = window / window.sum()

    def smooth(image: Tensor) -> Tensor:
        padded = F.pad(image, (3, 3, 3, 3), mode="replicate")
        return F.conv2d(F.conv2d(padded, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))

    mean = smooth(y)
    apart = y - mean
    # where an image is flat this is 0 but for rounding, whose sign would count below
    apart = torch.where(apart.abs() < FLAT, 0.0, apart)
    return apart / ((smooth(y * y) - mean * mean).abs().sqrt() + 1)


def _fitted(blocks: Float[Tensor, "n s s"]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Shape, left and right spread of asymmetric generalised Gaussians (equation 7), by moments."""
    values = blocks.flatten(1)
    squares = values * values
    below, above = values < 0, values > 0
    left = ((squares * below).sum(1) / below.sum(1)).sqrt()
    right = ((squares * above).sum(1) / above.sum(1)).sqrt()
    skew = left / right
    ratio = values.abs().mean(1) ** 2 / squares.mean(1)
    ratio = ratio * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    alpha = _shape(ratio)
    width = ((torch.lgamma(1 / alpha) - torch.lgamma(3 / alpha)) / 2).exp()
    return alpha, left * width, right * width


def _shape(ratio: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The shape whose ratio of moments is nearest; the first where there is none, as the authors' program has it."""
    shapes, ratios = _table()
    above = torch.searchsorted(ratios, ratio.nan_to_num(0.0)).clamp(1, len(ratios) - 1)
    nearer = (ratios[above] - ratio) < (ratio - ratios[above - 1])
    return torch.where(nearer, shapes[above], shapes[above - 1])


@cache
def _table() -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Shapes, and the ratio of moments of each, which grows with it."""
    first, last, step = SHAPES
    shapes = first + step * torch.arange(round((last - first) / step) + 1, dtype=torch.float64)
    ratios = (2 * torch.lgamma(2 / shapes) - torch.lgamma(1 / shapes) - torch.lgamma(3 / shapes)).exp()
    return shapes, ratios

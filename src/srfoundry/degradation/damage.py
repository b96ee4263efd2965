"""What comes after blur and reduction in a random degradation: noise, compression, sharpening, drawn for each image."""

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.core.seeds import Rows
from srfoundry.degradation import kernels, operator
from srfoundry.degradation.settings import DamageRanges
from srfoundry.imaging import images

SHARPENING = (0.3, 1.0)  # strengths of the unsharp mask
MASK = 1.0  # its variance, square pixels


def add_noise(
    low: Float[Tensor, "b 3 h w"], ranges: DamageRanges, *, rng: torch.Generator, rows: Rows | None = None
) -> Float[Tensor, "b 3 h w"]:
    """White Gaussian or Poisson noise, grey or in colours, for a share of the images.

    Poisson noise is drawn as a normal of its variance, as is usual above a few photons; its deviation is that of the
    drawn level in a white pixel.

    Args:
        low: range [0, 1].
        ranges: how much, how often, of which kind.
        rng: on the CPU.
        rows: of the batch of which these images are a part; the whole one if not given.
    """
    count, rows = len(low), rows or Rows(len(low))
    draws = rows.rand(4, rng=rng).to(low.device).view(count, 4, 1, 1, 1)
    level = torch.where(draws[:, 0] < ranges.noisy, ranges.noise * draws[:, 1], 0.0)
    coloured = rows.randn(*low.shape[1:], rng=rng).to(low)
    grey = rows.randn(1, *low.shape[-2:], rng=rng).to(low)
    noise = torch.where(draws[:, 2] < ranges.grey, grey, coloured)
    strength = torch.where(draws[:, 3] < ranges.poisson, low.clamp(0, 1).sqrt(), 1.0)
    return low + level * strength * noise


def compress(
    low: Float[Tensor, "b 3 h w"], ranges: DamageRanges, *, rng: torch.Generator, rows: Rows | None = None
) -> Float[Tensor, "b 3 h w"]:
    """A share of the images as JPEG files of a random quality, all in 8 bits.

    The files are written and read by libjpeg on the CPU, whatever device the images are on.

    Args:
        low: range [0, 1], or beyond; it is clipped.
        ranges: how often, of which quality.
        rng: on the CPU.
        rows: as of `add_noise`.
    """
    draws = (rows or Rows(len(low))).rand(2, rng=rng).tolist()
    worst, best = ranges.jpeg
    found = bits(low)
    for index, (chance, where) in enumerate(draws):
        if chance < ranges.packed:
            found[index : index + 1] = images.jpeg(low[index : index + 1], round(worst + where * (best - worst)))
    return found


def sharpen(
    low: Float[Tensor, "b 3 h w"], share: float, *, rng: torch.Generator, rows: Rows | None = None
) -> Float[Tensor, "b 3 h w"]:
    """A share of the images through an unsharp mask of random strength, as cameras' programs do.

    Args:
        low: range [0, 1].
        share: of the images.
        rng: on the CPU.
        rows: as of `add_noise`.
    """
    draws = (rows or Rows(len(low))).rand(2, rng=rng).to(low).view(len(low), 2, 1, 1, 1)
    least, most = SHARPENING
    strength = torch.where(draws[:, 0] < share, least + draws[:, 1] * (most - least), 0.0)
    variance = torch.tensor([MASK], dtype=torch.float64)
    soft = kernels.gaussian(7, variance, variance, torch.zeros(1, dtype=torch.float64)).to(low)
    return low + strength * (low - operator.degrade(low, soft, 1))


def bits(low: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """In 8 bits, as a file holds it, range [0, 1]."""
    return images.from_uint8(images.to_uint8(low)).to(low)

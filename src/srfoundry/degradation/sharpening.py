"""Unsharp masks, by which programs sharpen the thumbnails that they make, and how one is taken back.

A mask adds to an image what a Gaussian takes from it: y = x + a (x - g_r * x). Its response at the frequency f is
1 + a (1 - exp(-2 (pi r f)^2)), nowhere below 1: no frequency is lost, and what is known of the mask can be taken back.
An enlargement that does not reckon with it makes the halos beside edges wider by its scale.
"""

import math
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

# Limits of the bins in which masks are told apart: the Gaussian's deviation, pixels of the sharpened image, and a.
RADII = (0.4, 0.65, 1.1, 2.2)
AMOUNTS = (0.2, 0.5, 1.1, 2.6)
PLACES = (len(RADII) - 1) * (len(AMOUNTS) - 1) + 1  # "none" and the bins, amounts within radii
POINTS = 3  # masks along each side of a bin that stand for all of it
REACH = 9  # pixels that a mask looks to a side
PLANE = 64  # frequencies a side


def drawn(
    count: int, share: float, *, rng: torch.Generator
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"], Int[Tensor, " n"]]:
    """Masks at random: radii and amounts whose logarithms are uniform, and the bin of each.

    Args:
        count: how many.
        share: of them that are any; the others have an amount of 0, and bin 0.
        rng: on the CPU.
    """
    draws = torch.rand(count, 3, generator=rng)
    radius, amount = (
        limits[0] * (limits[-1] / limits[0]) ** draws[:, side] for side, limits in enumerate((RADII, AMOUNTS))
    )
    rows, columns = (
        torch.bucketize(value, value.new_tensor(limits[1:-1])) for value, limits in ((radius, RADII), (amount, AMOUNTS))
    )
    sharpened = draws[:, 2] < share
    place = 1 + (len(AMOUNTS) - 1) * rows + columns
    return radius, torch.where(sharpened, amount, 0.0), torch.where(sharpened, place, 0)


def unsharp(
    image: Float[Tensor, "b h w"], radius: Float[Tensor, " b"], amount: Float[Tensor, " b"]
) -> Float[Tensor, "b h w"]:
    """Images through a mask each, in the range that they have; more than `REACH` pixels a side."""
    axis = torch.arange(-REACH, REACH + 1, dtype=torch.float32)
    taps = torch.exp(-(axis**2) / (2 * radius[:, None] ** 2))
    taps = (taps / taps.sum(dim=1, keepdim=True)).to(image)
    soft = functional.pad(image[None], [REACH] * 4, mode="reflect")
    for shaped in (taps[:, None, :, None], taps[:, None, None, :]):
        soft = functional.conv2d(soft, shaped, groups=len(image))
    return image + amount.to(image).view(-1, 1, 1) * (image - soft[0])


def undone(image: Float[Tensor, "1 c h w"], chances: Float[Tensor, " p"]) -> Float[Tensor, "1 c h w"]:
    """The image before it was sharpened, as the filter of least expected error has it: E[T] / E[T^2] of the responses.

    Args:
        image: range [0, 1]; what a mask pushed out of that and was cut off stays lost.
        chances: of each bin (`drawn`), that it holds the mask; sum 1.
    """
    first, second = (torch.tensordot(chances.double().cpu(), moment, dims=1) for moment in _moments())
    taps = torch.fft.fftshift(torch.fft.ifft2(first / second).real)
    middle = slice(PLANE // 2 - REACH, PLANE // 2 + REACH + 1)
    taps = (taps[middle, middle] / taps[middle, middle].sum()).to(image)
    height, width = image.shape[-2:]
    rim = [min(REACH, extent - 1) for extent in (width, width, height, height)]
    around = functional.pad(image, rim, mode="reflect")
    around = functional.pad(around, [REACH - each for each in rim], mode="replicate")
    channels = image.shape[1]
    return functional.conv2d(around, taps.expand(channels, 1, -1, -1), groups=channels).clamp(0, 1)


def _response(radius: float, amount: float) -> Float[Tensor, "f f"]:
    frequency = torch.fft.fftfreq(PLANE, dtype=torch.float64)
    square = frequency[:, None] ** 2 + frequency**2
    return 1 + amount * (1 - torch.exp(-2 * (math.pi * radius) ** 2 * square))


@cache
def _moments() -> tuple[Float[Tensor, "p f f"], Float[Tensor, "p f f"]]:
    """Means of the responses in each bin, and of their squares."""
    every = [_response(1.0, 0.0)[None]]
    every += [
        torch.stack([_response(radius, amount) for radius in radii for amount in amounts])
        for radii in _points(RADII)
        for amounts in _points(AMOUNTS)
    ]
    return torch.stack([each.mean(dim=0) for each in every]), torch.stack([(each**2).mean(dim=0) for each in every])


def _points(limits: tuple[float, ...]) -> list[list[float]]:
    """For each bin values between its limits whose logarithms are evenly spread."""
    steps = [(step + 0.5) / POINTS for step in range(POINTS)]
    return [[low * (high / low) ** step for step in steps] for low, high in zip(limits[:-1], limits[1:], strict=True)]

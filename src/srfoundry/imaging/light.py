"""Encoded levels of a picture and the light that they stand for (sRGB's curve, IEC 61966-2-1)."""

import torch
from jaxtyping import Float
from torch import Tensor

KNEE, SLOPE, OFFSET, POWER = 0.04045, 12.92, 0.055, 2.4


def to_light(levels: Float[Tensor, "*_"]) -> Float[Tensor, "*_"]:
    """Linear light of encoded levels; white is 1 in both, what is below black or above white goes on."""
    curved = ((levels.clamp_min(KNEE) + OFFSET) / (1 + OFFSET)) ** POWER
    return torch.where(levels <= KNEE, levels / SLOPE, curved)


def from_light(light: Float[Tensor, "*_"]) -> Float[Tensor, "*_"]:
    """Encoded levels of linear light."""
    knee = KNEE / SLOPE
    curved = (1 + OFFSET) * light.clamp_min(knee) ** (1 / POWER) - OFFSET
    return torch.where(light <= knee, light * SLOPE, curved)

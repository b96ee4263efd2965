"""The sizes between an image and its reduction by a scale: a step for each factor of two, or one of three."""

from itertools import accumulate
from operator import mul


def steps_of(scale: int) -> list[int]:
    """The factor of each of the P phases: twos for a power of two, or [3]; ValueError for any other scale."""
    if scale == 3:
        return [3]
    if scale < 2 or scale & (scale - 1):
        raise ValueError(f"a scale must be a power of two from 2 up, or 3, got {scale}; use 2, 3, 4 or 8")
    return [2] * (scale.bit_length() - 1)


def reductions(scale: int) -> list[int]:
    """By how much the photograph is reduced at the sizes that a DRN meets, largest size first: 1, ..., scale."""
    return list(accumulate(steps_of(scale), mul, initial=1))

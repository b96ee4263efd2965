"""What params.yaml says of kernels and of what comes after the blur. Imports nothing heavy."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from srfoundry.core.ranges import OddSize, Steps


@dataclass(frozen=True, kw_only=True)
class FamilyCounts:
    """How many kernels of each family (`kernels.FAMILIES`, which has the same names).

    Args:
        gaussian: variances of 1 to 2.5 s square pixels (MZSR).
        noisy: Gaussians with every tap multiplied by noise (DIV2KRK).
        line: uniform motion.
        trajectory: camera shake (Boracchi and Foi 2012).
    """

    gaussian: Steps
    noisy: Steps
    line: Steps
    trajectory: Steps


@dataclass(frozen=True, kw_only=True)
class BankDraw:
    """The kernels of a bank.

    Args:
        kernel_size: taps a side, odd.
        bank: kernels to draw.
        kernels: folder of a user's kernel files, which are added.
    """

    kernel_size: OddSize
    bank: FamilyCounts
    kernels: Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """What comes after blur and decimation.

    Args:
        noise: standard deviation of white Gaussian noise, range [0, 1].
        jpeg: quality of a compression at the end, 1 to 95; 0 for none.
    """

    noise: Annotated[float, Field(ge=0, le=0.5)]
    jpeg: Annotated[int, Field(ge=0, le=95)]

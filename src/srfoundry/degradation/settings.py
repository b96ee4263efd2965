"""What params.yaml says of kernels and of what comes after the blur. Imports nothing heavy."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from srfoundry.core.ranges import OddSize, Positive, Steps, Weight


@dataclass(frozen=True, kw_only=True)
class FamilyCounts:
    """How many kernels of each family (`kernel_families.FAMILIES`, which has the same names).

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


Model = Literal["bicubic", "blind", "photographs"]  # of a random degradation (degradation.random_degradation)
Part = Annotated[float, Field(ge=0, le=1)]
Quality = Annotated[int, Field(ge=1, le=95)]


@dataclass(frozen=True, kw_only=True)
class BlurRanges:
    """The blurs of the model `blind`.

    Args:
        variances: least and largest variance of the Gaussians, in multiples of the scale, square pixels (FKP).
        motion: share of motion blurs, half of them straight lines, half camera shake.
    """

    variances: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0, le=16)]]
    motion: Part

    def size(self, scale: int) -> int:
        """Taps a side of the kernels, odd: six deviations of the widest and the way to the grid's centre, or more.

        MATLAB's bicubic has room in them, too.
        """
        return max(2 * math.ceil(3 * math.sqrt(self.variances[1] * scale) + (scale - 1) / 2), 4 * scale + 2) + 1


@dataclass(frozen=True, kw_only=True)
class DamageRanges:
    """Noise and compression.

    Args:
        noisy: share of the images with noise.
        noise: largest standard deviation, range [0, 1].
        grey: share of the noise that is the same in all colours.
        poisson: share of the noise whose variance is proportional to the light.
        packed: share of the images that are compressed.
        jpeg: least and best quality of the compression.
    """

    noisy: Part
    noise: Annotated[float, Field(ge=0, le=0.5)]
    grey: Part
    poisson: Part
    packed: Part
    jpeg: tuple[Quality, Quality]


@dataclass(frozen=True, kw_only=True)
class RoundRanges:
    """What the two rounds of the model `photographs` have beside noise and compression.

    Args:
        once: share of its images that go through `blind` instead, one round.
        first_blur: least and largest deviation of the first round's Gaussians, high-resolution pixels.
        second_blur: of the second round's, in pixels of the image between.
        second_blurred: share of the images that have a second blur.
        resize: least and largest factor of the resizing between, of the high-resolution image.
        sharpened: share of the images that are sharpened at last, as cameras do.
    """

    once: Part
    first_blur: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0, le=4)]]
    second_blur: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0, le=4)]]
    second_blurred: Part
    resize: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0, le=2)]]
    sharpened: Part


@dataclass(frozen=True, kw_only=True)
class RandomDegradation:
    """What each pair of a training step has gone through.

    Args:
        degradation: bicubic is MATLAB's reduction alone; blind is blur, decimation, noise and JPEG; photographs is a
            practical model of two rounds.
        clean: share of the pairs that are MATLAB's bicubic alone under the latter two.
        blur: of blind.
        damage: of each round.
        rounds: of photographs.
    """

    degradation: Model
    clean: Part
    blur: BlurRanges
    damage: DamageRanges
    rounds: RoundRanges


@dataclass(frozen=True, kw_only=True)
class SpectrumModel:
    """What photographs and their noise are like, for the likelihood of a kernel (`spectral_likelihood`).

    Args:
        noise: standard deviation of the image's noise, range [0, 1], rounding not counted; 0 means unknown to the
            methods that estimate it.
        tile: low-resolution pixels a side of a spectrum.
        keep: share of the tiles that count, the busiest first.
        exponent: mean and deviation of the spectrum's fall |f|^-alpha.
        softness: variance of the blur that photographs have by themselves, px^2.
    """

    noise: Annotated[float, Field(ge=0, le=0.5)]
    tile: Annotated[int, Field(ge=8)]
    keep: Annotated[float, Field(gt=0, le=1)]
    exponent: tuple[Positive, Positive]
    softness: Weight

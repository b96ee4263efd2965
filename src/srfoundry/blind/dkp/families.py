"""Families of kernels that are sampled in DKP: what a family is, the Gaussian one, and a family by its name.

`motion_families` has those that are no Gaussians.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.dkp import motion_families
from srfoundry.blind.settings import KernelPrior
from srfoundry.core.errors import FoundryError
from srfoundry.degradation import kernels

POINTS = 24  # of a mean kernel's integral, along each variance and the angle
ROUND = 0.05  # least difference of log variances in a density: a circle's axes have no direction


@runtime_checkable
class Family(Protocol):
    """A set of kernels with a probability, each given by a `shape` of `dim` real numbers, all of which are allowed."""

    @property
    def size(self) -> int:
        """Taps a side."""
        ...

    @property
    def dim(self) -> int:
        """Numbers in a shape."""
        ...

    def sample(self, count: int, *, rng: torch.Generator) -> Float[Tensor, "n d"]:
        """Draw shapes, float64, on the generator's device."""
        ...

    def log_density(self, shape: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """log p(shape)."""
        ...

    def clip(self, shape: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Bring shapes to where p is above 0."""
        ...

    def kernels(self, shape: Float[Tensor, "n d"]) -> Float[Tensor, "n k k"]:
        """The kernels of shapes in one batch, differentiable; they sum to 1."""
        ...

    def mean(self) -> Float[Tensor, "1 k k"]:
        """The mean kernel: what one would guess without looking at the image."""
        ...


@dataclass(frozen=True)
class GaussianPrior:
    """Centred Gaussian kernels: both variances ~ U(low, high) square pixels, angle ~ U(0, pi) (FKP's and DKP's family).

    They lie `offset` pixels off the middle tap, down and right, where another convention wants its centre.
    A kernel's `shape` is (xx, xy, yy) of the logarithm of its covariance: no wrapping angle, every value valid.
    """

    size: int
    low: float
    high: float
    offset: float = 0.0

    def __post_init__(self) -> None:
        if self.size % 2 == 0 or not 0 < self.low < self.high:
            raise FoundryError(
                f"kernel prior needs an odd size and 0 < low < high, got size {self.size}, "
                f"variances {self.low} to {self.high}; correct the estimate section of params.yaml"
            )

    @property
    def dim(self) -> int:
        """Numbers in a shape."""
        return 3

    def widened(self, margin: float) -> "GaussianPrior":
        """Kernels up to `margin` times narrower and wider in variance."""
        return GaussianPrior(self.size, self.low / margin, self.high * margin, self.offset)

    def sample(self, count: int, *, rng: torch.Generator) -> Float[Tensor, "n 3"]:
        """Draw shapes, on the generator's device."""
        draws = torch.rand(count, 3, generator=rng, device=rng.device, dtype=torch.float64)
        variances = self.low + draws[:, :2] * (self.high - self.low)
        return _shape(variances.log(), draws[:, 2] * math.pi)

    def log_density(self, shape: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """log p(shape); -inf outside the range of variances."""
        axes, _ = _axes(shape)
        spread = (axes[:, 1] - axes[:, 0]).clamp_min(ROUND)  # |d shape / d (axes, angle)|
        inside = (axes >= math.log(self.low)).all(dim=1) & (axes <= math.log(self.high)).all(dim=1)
        density = axes.sum(dim=1) - spread.log() - math.log((self.high - self.low) ** 2 * math.pi / 2)
        return density.masked_fill(~inside, -math.inf)

    def clip(self, shape: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Bring the variances of shapes into the prior's range."""
        axes, angle = _axes(shape)
        inside = axes.clamp(math.log(self.low) + 1e-9, math.log(self.high) - 1e-9)
        return _shape(inside.flip(1), angle)

    def kernels(self, shape: Float[Tensor, "n 3"]) -> Float[Tensor, "n k k"]:
        """Evaluate the kernels of shapes in one batch; they sum to 1."""
        axes, angle = _axes(shape)
        return kernels.gaussian(self.size, axes[:, 1].exp(), axes[:, 0].exp(), angle, offset=self.offset)

    def mean(self) -> Float[Tensor, "1 k k"]:
        """The prior's mean kernel, by the midpoint rule: what one would guess without looking at the image."""
        axis = (torch.arange(POINTS, dtype=torch.float64) + 0.5) / POINTS
        variance = self.low + axis * (self.high - self.low)
        first, second, angle = torch.meshgrid(variance, variance, axis * math.pi, indexing="ij")
        family = kernels.gaussian(self.size, first.flatten(), second.flatten(), angle.flatten(), offset=self.offset)
        return family.mean(dim=0, keepdim=True)


def gaussians(prior: KernelPrior, scale: int) -> GaussianPrior:
    """The Gaussian family of the settings at a scale."""
    least, largest = prior.variances
    return GaussianPrior(prior.kernel_size, least * scale, largest * scale)


def family_of(prior: KernelPrior, scale: int, bank: Float[Tensor, "n k k"] | None = None) -> Family:
    """The kernels that are thought possible before the image is seen.

    Args:
        bank: kernels that the family `bank` draws from, centred on the middle tap.

    Raises:
        FoundryError: the family is a bank and none is given, or a value is out of range.
    """
    if prior.family == "gaussian":
        return gaussians(prior, scale)
    size = prior.kernel_size
    if prior.family == "line":
        return motion_families.lines(size, min(float(scale), 0.5 * size), 0.8 * size)
    if prior.family == "trajectory":
        return motion_families.trajectories(size)
    if prior.family == "disc":
        return motion_families.discs(size, 1.0, min(1.0 + 2.0 * scale, 0.4 * size))
    if bank is None:
        raise FoundryError("estimate.family is bank, got no bank; hand one over, or choose gaussian")
    return motion_families.bank(bank)


def _shape(log_axes: Float[Tensor, "n 2"], angle: Float[Tensor, " n"]) -> Float[Tensor, "n 3"]:
    cos, sin = angle.cos(), angle.sin()
    first, second = log_axes[:, 0], log_axes[:, 1]
    xx = first * cos**2 + second * sin**2
    yy = first * sin**2 + second * cos**2
    return torch.stack([xx, (first - second) * cos * sin, yy], dim=1)


def _axes(shape: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, "n 2"], Float[Tensor, " n"]]:
    """Log variances, smaller first, and the angle of the larger one's axis from the column axis."""
    middle = (shape[:, 0] + shape[:, 2]) / 2
    half = (shape[:, 0] - shape[:, 2]) / 2
    reach = half.hypot(shape[:, 1])
    return torch.stack([middle - reach, middle + reach], dim=1), 0.5 * torch.atan2(shape[:, 1], half)

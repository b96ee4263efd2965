"""Families of kernels that are no Gaussians: straight motion, camera shake, defocus, and a user's bank.

Each is a function from standard normal numbers to kernels, so that one density, one proposal and one random walk serve
them all, and none of a shape's numbers wraps around or ends: an angle is half of a direction's, a length a quantile.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.core import seeds
from srfoundry.core.errors import FoundryError
from srfoundry.degradation import kernels

POINTS = 192  # places of a trajectory that are exposed
FALL = 1.2  # a trajectory's cosine number j has a deviation of j^-FALL
TURN, STRETCH = 0.15, 0.08  # deviations of the turn (radians) and of the log size of a bank's kernels
DRAWS = 2048  # for a family's mean kernel


@dataclass(frozen=True)
class Mapped:
    """The kernels `make(shape)` of independent standard normal shapes: a `families.Family`.

    size: taps a side. dim: numbers in a shape. make: shapes `n d` to kernels `n k k` that sum to 1, differentiable.
    """

    size: int
    dim: int
    make: Callable[[Float[Tensor, "n d"]], Float[Tensor, "n k k"]]

    def sample(self, count: int, *, rng: torch.Generator) -> Float[Tensor, "n d"]:
        """Draw shapes, on the generator's device."""
        return torch.randn(count, self.dim, generator=rng, device=rng.device, dtype=torch.float64)

    def log_density(self, shape: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """log p(shape)."""
        return -0.5 * (shape.square().sum(dim=1) + self.dim * math.log(2 * math.pi))

    def clip(self, shape: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Every shape is allowed."""
        return shape

    def kernels(self, shape: Float[Tensor, "n d"]) -> Float[Tensor, "n k k"]:
        """Evaluate the kernels of shapes in one batch."""
        return self.make(shape)

    def mean(self) -> Float[Tensor, "1 k k"]:
        """The mean kernel, from draws that are always the same."""
        return self.make(self.sample(DRAWS, rng=seeds.generator(0, "motion", "mean"))).mean(dim=0, keepdim=True)


def lines(size: int, low: float, high: float) -> Mapped:
    """Straight, even motion: length ~ U(low, high) pixels, angle ~ U(0, pi); centred.

    Raises:
        FoundryError: even size, or lengths that are none.
    """
    if size % 2 == 0 or not 0 < low < high <= size:
        raise FoundryError(
            f"motion prior needs an odd size and 0 < low < high <= size, got size {size}, lengths {low} to {high}; "
            "correct the estimate section of params.yaml"
        )

    def make(shape: Float[Tensor, "n 3"]) -> Float[Tensor, "n k k"]:
        length = low + (high - low) * _quantile(shape[:, 0])
        return kernels.line(size, length, 0.5 * torch.atan2(shape[:, 2], shape[:, 1]))

    return Mapped(size, 3, make)


def trajectories(size: int, *, extent: float = 0.5, modes: int = 5) -> Mapped:
    """Camera shake: a smooth random path, sum over j of c_j cos(pi j t), exposed evenly in time; centred.

    The coefficients fall as those of a walk with inertia, in rows and columns apart; one more number is the log extent.
    A path that leaves the kernel is made smaller. Run backwards, a path gives the same kernel.

    Args:
        size: taps a side, odd.
        extent: about how far the path reaches, in shares of half the size.
        modes: cosines in each direction.

    Raises:
        FoundryError: even size, or values out of range.
    """
    if size % 2 == 0 or modes < 1 or not 0 < extent <= 1:
        raise FoundryError(
            f"trajectories need an odd size, modes and an extent of 0 to 1, got size {size}, {modes} modes, extent "
            f"{extent}; correct the estimate section of params.yaml"
        )
    half = (size - 1) / 2

    def make(shape: Float[Tensor, "n d"]) -> Float[Tensor, "n k k"]:
        number = torch.arange(1, modes + 1, dtype=shape.dtype, device=shape.device)
        time = (torch.arange(POINTS, dtype=shape.dtype, device=shape.device) + 0.5) / POINTS
        waves = torch.cos(math.pi * number[:, None] * time) * number[:, None] ** -FALL
        path = torch.einsum("ndj,jt->ntd", shape[:, 1:].unflatten(1, (2, modes)), waves)
        path = path * (0.6 * extent * half * torch.exp(0.4 * shape[:, 0]))[:, None, None]
        reach = path.abs().amax(dim=(1, 2)).clamp_min(1e-9)
        return kernels.splat(size, path * (half / reach).clamp(max=1.0)[:, None, None])

    return Mapped(size, 2 * modes + 1, make)


def discs(size: int, low: float, high: float) -> Mapped:
    """Defocus: radius ~ U(low, high) pixels; the rim's taps are exposed by as much as it reaches into them.

    Raises:
        FoundryError: even size, or radii that are none.
    """
    if size % 2 == 0 or not 0 < low < high <= size / 2:
        raise FoundryError(
            f"disc prior needs an odd size and 0 < low < high <= size / 2, got size {size}, radii {low} to {high}; "
            "correct the estimate section of params.yaml"
        )

    def make(shape: Float[Tensor, "n 1"]) -> Float[Tensor, "n k k"]:
        radius = low + (high - low) * _quantile(shape[:, 0])
        axis = torch.arange(size, dtype=shape.dtype, device=shape.device) - (size - 1) / 2
        away = axis[:, None].hypot(axis)
        return kernels.normalise((radius[:, None, None] + 0.5 - away).clamp(0, 1))

    return Mapped(size, 1, make)


def bank(entries: Float[Tensor, "n k k"]) -> Mapped:
    """The kernels of a bank, each equally likely, a little turned and stretched, and centred.

    They are put in order along their main axis of variation, so that neighbours in the shape's first number are alike.
    The gradient of a kernel knows turn and stretch alone.

    Raises:
        FoundryError: an entry is no kernel.
    """
    kernels.check(entries, "bank")
    centred = kernels.centred(entries.double())
    away = (centred - centred.mean(dim=0)).flatten(1)
    main = torch.linalg.svd(away, full_matrices=False)[2][0]
    ordered = centred[(away @ main).argsort(stable=True)]
    size = entries.shape[-1]

    def make(shape: Float[Tensor, "n 3"]) -> Float[Tensor, "n k k"]:
        number = (_quantile(shape[:, 0]) * len(ordered)).long().clamp(0, len(ordered) - 1)
        chosen = ordered.to(shape.device)[number]
        angle, shrink = TURN * shape[:, 1], torch.exp(-STRETCH * shape[:, 2])
        cos, sin, zero = shrink * angle.cos(), shrink * angle.sin(), torch.zeros_like(angle)
        rows = torch.stack([torch.stack([cos, -sin, zero], dim=1), torch.stack([sin, cos, zero], dim=1)], dim=1)
        grid = functional.affine_grid(rows, [len(shape), 1, size, size], align_corners=True)
        turned = functional.grid_sample(chosen[:, None], grid, align_corners=True)[:, 0]
        return kernels.normalise(turned.clamp_min(0) + 1e-12)

    return Mapped(size, 3, make)


def _quantile(normal: Tensor) -> Tensor:
    """A standard normal number as a uniform one in (0, 1)."""
    return 0.5 * torch.erfc(-normal / math.sqrt(2))

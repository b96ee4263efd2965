"""Where kernels come from in DKP: the family that is sampled, the weights of the samples, and the network G_k.

`motion` has further families, `chains` another way to sample, `forms` what can stand in for G_k.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.core.errors import FoundryError
from srfoundry.degradation import kernels

ROUND = 0.05  # least difference of log variances in a density: a circle's axes have no direction


Score = Callable[[Float[Tensor, "n k k"]], Float[Tensor, " n"]]  # log p(y | kernel), up to a constant


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

    def mean(self, points: int = 24, device: torch.device | str = "cpu") -> Float[Tensor, "1 k k"]:
        """The prior's mean kernel, by the midpoint rule: what one would guess without looking at the image."""
        axis = (torch.arange(points, dtype=torch.float64, device=device) + 0.5) / points
        variance = self.low + axis * (self.high - self.low)
        first, second, angle = torch.meshgrid(variance, variance, axis * math.pi, indexing="ij")
        family = kernels.gaussian(self.size, first.flatten(), second.flatten(), angle.flatten(), offset=self.offset)
        return family.mean(dim=0, keepdim=True)


def posterior_weights(error: Float[Tensor, " n"], temperature: float) -> Float[Tensor, " n"]:
    """w = softmax(-error / temperature): the normalised weights p(k | y) of DKP's sampling, which the paper names."""
    return torch.softmax(-error.double() / temperature, dim=0)


def released_weights(error: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """w = -(1 - p)^2 ln(p + 1e-3) with p the share of the excess error: DKP's published program; not normalised."""
    excess = error - error.min()
    share = excess / (1e-5 + excess.sum())
    return -((1 - share) ** 2) * (share + 1e-3).log()


class KernelGenerator(nn.Module):
    """G_k of DKP: a fixed code, two layers, a softmax over all taps; 322,121 parameters for 11x11 taps.

    Whatever its weights, the kernel is positive and sums to 1.
    """

    def __init__(self, size: int, *, code: int = 200, width: int = 1000) -> None:
        super().__init__()
        self.size = size
        self.body = nn.Sequential(nn.Linear(code, width), nn.ReLU6(), nn.Linear(width, size**2))

    def forward(self, code: Float[Tensor, " c"]) -> Float[Tensor, "1 k k"]:
        return torch.softmax(self.body(code), dim=-1).view(1, self.size, self.size)


class Population:
    """Random kernel sampling that adapts to the image: population Monte Carlo with mixture weights (Cornuet 2012).

    The first round draws from the prior, each later one from a Gaussian over shapes fitted to all weighted draws so
    far; draws that leave the prior's range are brought back to its edge. Weights are
    prior * likelihood^(1/temperature) / proposal, where the proposal is the mixture of all rounds.
    """

    def __init__(self, prior: Family) -> None:
        self.prior = prior
        self.shapes = torch.empty(0, prior.dim, dtype=torch.float64)
        self.scores = torch.empty(0, dtype=torch.float64)
        self.fitted: list[torch.distributions.MultivariateNormal] = []
        self.weights = self.scores
        self.temperature = math.inf

    def draw(self, count: int, *, rng: torch.Generator) -> Float[Tensor, "n d"]:
        """Propose shapes for this round."""
        if not len(self.shapes):
            return self.prior.sample(count, rng=rng)
        mean = self.weights @ self.shapes
        away = self.shapes - mean
        covariance = 1.5 * (away * self.weights[:, None]).T @ away  # wider than the target: no draw weighs too much
        covariance += 2e-4 * torch.eye(self.prior.dim, dtype=covariance.dtype, device=covariance.device)
        proposal = torch.distributions.MultivariateNormal(mean, covariance)
        self.fitted.append(proposal)
        noise = torch.randn(count, self.prior.dim, generator=rng, device=rng.device, dtype=torch.float64)
        return self.prior.clip(mean + noise @ proposal.scale_tril.T)

    def weigh(
        self, shapes: Float[Tensor, "n d"], scores: Float[Tensor, " n"], *, temperature: float, least: float
    ) -> Float[Tensor, "1 k k"]:
        """Add a round's draws with their log-likelihoods and return k_hat = sum w k over all draws, `1 k k`.

        The temperature is raised above `temperature` for as long as fewer than `least` draws would carry the weight:
        early rounds, far from the posterior, must not collapse onto their one best draw.
        """
        self.shapes = torch.cat([self.shapes, shapes])
        self.scores = torch.cat([self.scores, scores])
        prior = self.prior.log_density(self.shapes)
        rounds = torch.stack([prior, *(part.log_prob(self.shapes) for part in self.fitted)])
        ratio = prior - rounds.logsumexp(dim=0)
        for power in range(60):
            self.temperature = temperature * 1.3**power
            self.weights = posterior_weights(-(self.scores / self.temperature + ratio), 1.0)
            if self.effective() >= min(least, 0.5 * len(self.shapes)):
                break
        heavy = self.weights > 1e-9
        family = self.prior.kernels(self.shapes[heavy])
        return (self.weights[heavy, None, None] * family).sum(dim=0, keepdim=True)

    def rescore(self, score: Score) -> None:
        """Score all draws so far anew: for a likelihood that has changed since."""
        if len(self.shapes):
            self.scores = score(self.prior.kernels(self.shapes))

    def effective(self) -> float:
        """The number of draws that carry the weight (Kish), a sign of how well the posterior is covered."""
        return float(1 / self.weights.square().sum())


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

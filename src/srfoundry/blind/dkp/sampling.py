"""Random kernel sampling (RKS): draws that adapt to the image, weighed by p(k | y), and their mean k_hat = sum w k."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.dkp.families import Family
from srfoundry.blind.dkp.likelihood import Score
from srfoundry.blind.dkp.mcmc import Chains
from srfoundry.blind.estimate import BlindObservation, Row
from srfoundry.blind.settings import Estimation
from srfoundry.core.errors import FoundryError
from srfoundry.degradation.spectral_likelihood import SpectralLikelihood

LEAST = 24.0  # draws that must carry the weight, see Population.weigh


class RandomKernels:
    """RKS of one image; each call of `improve` adds draws.

    Args:
        observation: the image, whole.
        family: of the kernels.
        settings: of sampling, and of the spectrum that kernels are weighed by.
        rng: a CPU generator.
    """

    def __init__(
        self, observation: BlindObservation, family: Family, settings: Estimation, *, rng: torch.Generator
    ) -> None:
        self.spectral: Score | None = None
        if settings.sampling.likelihood == "spectrum":
            noise = observation.known_noise(settings)
            leaks = settings.prior.family != "gaussian"  # motion and banks have spectra with zeros
            self.spectral = SpectralLikelihood(
                observation.low, observation.scale, settings.spectrum, noise=noise, leaks=leaks
            )
        self.population = Population(family) if settings.sampling.sampler == "population" else Chains(family)
        self.settings, self.rng, self.device = settings.sampling, rng, observation.low.device

    def improve(self, residual: Score | None = None) -> tuple[Float[Tensor, "1 k k"], Row]:
        """k_hat over all draws so far, this call's included, and the figures of the sampling.

        Args:
            residual: scores kernels by the image so far; used where the spectrum does not.

        Raises:
            FoundryError: neither scores kernels.
        """
        population = self.population
        score = self.spectral or residual
        if score is None:
            raise FoundryError("estimate.likelihood residual needs an image, got image_steps 0; choose spectrum")

        def scored(kernels: Tensor) -> Tensor:
            return score(kernels.to(self.device)).cpu()

        shapes = population.draw(self.settings.draws, rng=self.rng)
        if self.spectral is None:
            population.rescore(scored)  # the image has changed since
        scores = scored(population.family.kernels(shapes.to(self.device)))  # hundreds in one batch, where the image is
        k_hat = population.weigh(shapes, scores, temperature=self.settings.temperature, least=LEAST)
        row = {"draws": population.effective(), "temperature": min(population.temperature, 1e9)}
        return k_hat.float().to(self.device), row

    def better(self, kernel: Float[Tensor, "1 k k"]) -> Float[Tensor, "1 k k"]:
        """The kernel, or the random one that explains the spectrum better."""
        assert self.spectral is not None
        best = self.population.likeliest().float().to(kernel)
        with torch.no_grad():
            scores = self.spectral(torch.cat([kernel, best]))
        return best if float(scores[1]) > float(scores[0]) else kernel


class Population:
    """Random kernel sampling that adapts to the image: population Monte Carlo with mixture weights (Cornuet 2012).

    The first round draws from the prior, each later one from a Gaussian over shapes fitted to all weighted draws so
    far; draws that leave the prior's range are brought back to its edge. Weights are
    prior * likelihood^(1/temperature) / proposal, where the proposal is the mixture of all rounds.
    """

    def __init__(self, family: Family) -> None:
        self.family = family
        self.shapes = torch.empty(0, family.dim, dtype=torch.float64)
        self.scores = torch.empty(0, dtype=torch.float64)
        self.fitted: list[torch.distributions.MultivariateNormal] = []
        self.weights = self.scores
        self.temperature = math.inf

    def draw(self, count: int, *, rng: torch.Generator) -> Float[Tensor, "n d"]:
        """Propose shapes for this round."""
        if not len(self.shapes):
            return self.family.sample(count, rng=rng)
        mean = self.weights @ self.shapes
        away = self.shapes - mean
        covariance = 1.5 * (away * self.weights[:, None]).T @ away  # wider than the target: no draw weighs too much
        covariance += 2e-4 * torch.eye(self.family.dim, dtype=covariance.dtype, device=covariance.device)
        proposal = torch.distributions.MultivariateNormal(mean, covariance)
        self.fitted.append(proposal)
        noise = torch.randn(count, self.family.dim, generator=rng, device=rng.device, dtype=torch.float64)
        return self.family.clip(mean + noise @ proposal.scale_tril.T)

    def weigh(
        self, shapes: Float[Tensor, "n d"], scores: Float[Tensor, " n"], *, temperature: float, least: float
    ) -> Float[Tensor, "1 k k"]:
        """Add a round's draws with their log-likelihoods and return k_hat = sum w k over all draws, `1 k k`.

        The temperature is raised above `temperature` for as long as fewer than `least` draws would carry the weight:
        early rounds, far from the posterior, must not collapse onto their one best draw.
        """
        self.shapes = torch.cat([self.shapes, shapes])
        self.scores = torch.cat([self.scores, scores])
        prior = self.family.log_density(self.shapes)
        rounds = torch.stack([prior, *(part.log_prob(self.shapes) for part in self.fitted)])
        ratio = prior - rounds.logsumexp(dim=0)
        for power in range(60):
            self.temperature = temperature * 1.3**power
            self.weights = posterior_weights(-(self.scores / self.temperature + ratio), 1.0)
            if self.effective() >= min(least, 0.5 * len(self.shapes)):
                break
        heavy = self.weights > 1e-9
        kernels = self.family.kernels(self.shapes[heavy])
        return (self.weights[heavy, None, None] * kernels).sum(dim=0, keepdim=True)

    def likeliest(self) -> Float[Tensor, "1 k k"]:
        """The draw of highest likelihood."""
        return self.family.kernels(self.shapes[self.scores.argmax(), None])

    def rescore(self, score: Score) -> None:
        """Score all draws so far anew: for a likelihood that has changed since."""
        if len(self.shapes):
            self.scores = score(self.family.kernels(self.shapes))

    def effective(self) -> float:
        """The number of draws that carry the weight (Kish), a sign of how well the posterior is covered."""
        return float(1 / self.weights.square().sum())


def posterior_weights(error: Float[Tensor, " n"], temperature: float) -> Float[Tensor, " n"]:
    """w = softmax(-error / temperature): the normalised weights p(k | y) of DKP's sampling, which the paper names."""
    return torch.softmax(-error.double() / temperature, dim=0)

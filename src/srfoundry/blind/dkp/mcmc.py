"""Random kernel sampling by Markov chains: many walkers, whose steps follow the spread of them all."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.dkp.families import Family
from srfoundry.blind.dkp.likelihood import Score
from srfoundry.core.compute import running_sum

FAR = 0.1  # share of the walkers that are sent anywhere, by a draw from the prior
KEPT = 0.5  # share of the walkers that must carry the weight when the temperature falls
LATE = 4  # rounds, the latest, that k_hat is the mean of


class Chains:
    """Annealed Metropolis-Hastings over shapes (Neal 2001, Del Moral 2006): used as `sampling.Population` is.

    A round proposes one move for each walker: a step of the covariance of all walkers (Haario 2001), or, for a few, a
    fresh draw of the prior. It accepts or refuses them, lowers the temperature as far as half of the walkers carry the
    weight, and lets walkers of no weight start again at others' places. What is kept is a sample of
    prior * likelihood^(1/temperature), of which no proposal's density need be known.
    """

    def __init__(self, family: Family) -> None:
        self.family = family
        self.walkers = torch.empty(0, family.dim, dtype=torch.float64)
        self.scores = torch.empty(0, dtype=torch.float64)
        self.temperature = math.inf
        self.accepted = 1.0
        self.far = torch.empty(0, dtype=torch.bool)
        self.chance = torch.empty(0, dtype=torch.float64)
        self.start = 0.5
        self.rounds: list[Tensor] = []

    def draw(self, count: int, *, rng: torch.Generator) -> Float[Tensor, "n d"]:
        """Propose a shape for each walker; the first round's `count` is that of all."""
        self.start = float(torch.rand(1, generator=rng, device=rng.device, dtype=torch.float64))
        if not len(self.walkers):
            return self.family.sample(count, rng=rng)
        away = self.walkers - self.walkers.mean(dim=0)
        dim = self.family.dim
        covariance = away.T @ away / len(away) + 1e-6 * torch.eye(dim, dtype=away.dtype, device=away.device)
        noise = torch.randn(len(away), dim, generator=rng, device=rng.device, dtype=torch.float64)
        near = self.walkers + 2.38 / math.sqrt(dim) * noise @ torch.linalg.cholesky(covariance).T
        fresh = self.family.sample(len(away), rng=rng)
        draws = torch.rand(2, len(away), generator=rng, device=rng.device, dtype=torch.float64)
        self.far, self.chance = draws[0] < FAR, draws[1]
        return torch.where(self.far[:, None], fresh, near)

    def weigh(
        self, shapes: Float[Tensor, "n d"], scores: Float[Tensor, " n"], *, temperature: float, least: float
    ) -> Float[Tensor, "1 k k"]:
        """Accept or refuse the moves; returns the mean kernel of the last few rounds, `1 k k`.

        Args:
            temperature: the last; early rounds have a higher one.
            least: walkers that must carry the weight when it falls, if that is more than half of them.
        """
        if not len(self.walkers):
            self.walkers, self.scores = shapes, scores
        else:
            gain = (scores - self.scores) / self.temperature
            density = self.family.log_density(shapes) - self.family.log_density(self.walkers)
            # The density of a fresh draw's proposal is the prior's, and cancels; a step's is the same both ways.
            goes = self.chance.log() < gain + torch.where(self.far, 0.0, density)
            self.walkers = torch.where(goes[:, None], shapes, self.walkers)
            self.scores = torch.where(goes, scores, self.scores)
            self.accepted = float(goes.double().mean())
        self._anneal(temperature, least)
        self.rounds = [*self.rounds, self.walkers][-LATE:]
        return self.family.kernels(torch.cat(self.rounds)).mean(dim=0, keepdim=True)

    def likeliest(self) -> Float[Tensor, "1 k k"]:
        """The kernel of the walker of highest likelihood."""
        return self.family.kernels(self.walkers[self.scores.argmax(), None])

    def rescore(self, score: Score) -> None:
        """Score the walkers anew: for a likelihood that has changed since."""
        if len(self.walkers):
            self.scores = score(self.family.kernels(self.walkers))

    def effective(self) -> float:
        """Walkers that moved in the last round, a sign of how well they mix."""
        return self.accepted * len(self.walkers)

    def _anneal(self, last: float, least: float) -> None:
        """Lower the temperature, and resample for the change: a walker of weight w has about w n heirs."""
        before = 1 / self.temperature  # inverse temperatures
        low, high = before, max(1 / last, before)
        enough = min(max(KEPT * len(self.scores), least), 0.9 * len(self.scores))
        if _effective(self._weights(high - before)) < enough:
            for _ in range(40):
                middle = (low + high) / 2
                fits = _effective(self._weights(middle - before)) >= enough
                low, high = (middle, high) if fits else (low, middle)
            high = low
        if high <= before:
            return
        weights = self._weights(high - before)
        count = len(weights)
        places = (torch.arange(count, dtype=weights.dtype, device=weights.device) + self.start) / count
        heirs = torch.searchsorted(running_sum(weights), places).clamp(max=count - 1)
        self.walkers, self.scores = self.walkers[heirs], self.scores[heirs]
        self.temperature = 1 / high

    def _weights(self, more: float) -> Float[Tensor, " n"]:
        return torch.softmax(more * self.scores, dim=0)


def _effective(weights: Float[Tensor, " n"]) -> float:
    return float(1 / weights.square().sum())

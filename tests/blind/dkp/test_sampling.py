"""Random kernels that adapt to the image, and their weights."""

import math

import pytest
import torch

from srfoundry.blind.dkp.sampling import Population, posterior_weights
from srfoundry.core.seeds import generator
from tests.blind_cases import PRIOR, shape_of


def test_posterior_weights_are_a_distribution() -> None:
    weights = posterior_weights(torch.tensor([3.0, 1.0, 2.0]), 0.5)
    assert float(weights.sum()) == pytest.approx(1.0)
    assert float(weights[1] / weights[2]) == pytest.approx(math.exp(2.0))


def test_population_finds_a_known_posterior() -> None:
    population, rng = Population(PRIOR), generator(5, "population")
    target = torch.distributions.MultivariateNormal(
        shape_of(2.5, 1.5, 0.7)[0], 1e-3 * torch.eye(3, dtype=torch.float64)
    )
    k_hat = PRIOR.mean()
    for _ in range(8):
        shapes = population.draw(128, rng=rng)
        k_hat = population.weigh(shapes, target.log_prob(shapes), temperature=1.0, least=20.0)
    assert population.temperature == 1.0 and population.effective() > 100
    torch.testing.assert_close(population.weights @ population.shapes, target.loc, rtol=0, atol=0.03)
    assert float(k_hat.sum()) == pytest.approx(1.0)

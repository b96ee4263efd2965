"""The kernels that DKP samples, the weights that it gives them, and its kernel network."""

import math

import pytest
import torch

from srfoundry.blind.dkp.families import GaussianPrior
from srfoundry.blind.dkp.forms import KernelGenerator
from srfoundry.blind.dkp.likelihood import SpectralLikelihood
from srfoundry.blind.dkp.released import released_weights
from srfoundry.blind.dkp.sampling import Population, posterior_weights
from srfoundry.blind.settings import SpectrumModel
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.degradation.operator import degrade
from srfoundry.imaging.images import from_uint8, to_uint8
from tests.blind_cases import power_law

PRIOR = GaussianPrior(15, 0.35, 5.0)
MODEL = SpectrumModel(noise=0.0, tile=32, keep=1.0, exponent=(2.5, 0.5), softness=0.0)


def shape(first: float, second: float, angle: float) -> torch.Tensor:
    cos, sin = math.cos(angle), math.sin(angle)
    a, b = math.log(first), math.log(second)
    row = [a * cos**2 + b * sin**2, (a - b) * cos * sin, a * sin**2 + b * cos**2]
    return torch.tensor([row], dtype=torch.float64)


@pytest.mark.parametrize("size, count", [(11, 322_121), (15, 426_225), (19, 562_361), (21, 642_441)])
def test_published_counts(size: int, count: int) -> None:
    with torch.device("meta"):
        net = KernelGenerator(size)
    assert sum(value.numel() for value in net.parameters()) == count


def test_kernels_are_centred_positive_and_sum_to_one() -> None:
    family = PRIOR.kernels(PRIOR.sample(300, rng=generator(1, "prior")))
    assert float(family.min()) >= 0
    torch.testing.assert_close(family.sum(dim=(1, 2)), torch.ones(300, dtype=torch.float64))
    axis = torch.arange(15, dtype=torch.float64)
    assert float(((family.sum(dim=1) * axis).sum(dim=1) - 7).abs().max()) < 1e-6
    assert float(((family.sum(dim=2) * axis).sum(dim=1) - 7).abs().max()) < 1e-6


def test_sample_follows_the_prior() -> None:
    shapes = PRIOR.sample(20_000, rng=generator(2, "prior"))
    middle = (shapes[:, 0] + shapes[:, 2]) / 2
    reach = ((shapes[:, 0] - shapes[:, 2]) / 2).hypot(shapes[:, 1])
    variances = torch.cat([(middle + reach).exp(), (middle - reach).exp()])
    assert 0.35 - 1e-6 <= float(variances.min()) and float(variances.max()) <= 5 + 1e-6
    assert float(variances.mean()) == pytest.approx(2.675, abs=0.03)
    torch.testing.assert_close(PRIOR.kernels(shapes).mean(dim=0, keepdim=True), PRIOR.mean(), rtol=0.1, atol=1e-3)
    assert torch.allclose(PRIOR.clip(shapes), shapes, atol=1e-6)


def test_density_is_that_of_the_draws() -> None:
    # 1 = integral of p = mean over draws of a proposal of p / q, with a wide Gaussian as proposal.
    wide = torch.distributions.MultivariateNormal(
        torch.tensor([0.7, 0.0, 0.7], dtype=torch.float64), 0.6 * torch.eye(3, dtype=torch.float64)
    )
    noise = torch.randn(200_000, 3, generator=generator(3, "density"), dtype=torch.float64)
    draws = wide.loc + noise @ wide.scale_tril.T
    ratio = (PRIOR.log_density(draws) - wide.log_prob(draws)).exp()
    assert float(ratio.mean()) == pytest.approx(1.0, abs=0.04)
    assert PRIOR.log_density(shape(6.0, 1.0, 0.3)).item() == -math.inf


def test_released_weights_are_the_published_programs() -> None:
    weights = released_weights(torch.tensor([0.00171, 0.00541, 0.00248, 0.00338, 0.00296], dtype=torch.float64))
    expected = torch.tensor([6.9078, 0.1728, 1.8088, 0.8899, 1.2241], dtype=torch.float64)
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-3)


def test_posterior_weights_are_a_distribution() -> None:
    weights = posterior_weights(torch.tensor([3.0, 1.0, 2.0]), 0.5)
    assert float(weights.sum()) == pytest.approx(1.0)
    assert float(weights[1] / weights[2]) == pytest.approx(math.exp(2.0))


@pytest.mark.parametrize("scale", [2, 3])
def test_likelihood_prefers_the_true_kernel(scale: int) -> None:
    true, wide, narrow, turned = (
        PRIOR.kernels(shape(*values)).float()
        for values in ((3.0, 1.2, 0.5), (4.2, 1.7, 0.5), (2.1, 0.85, 0.5), (3.0, 1.2, 1.4))
    )
    low = from_uint8(to_uint8(degrade(power_law(240, 1), true, scale)))
    scores = SpectralLikelihood(low, scale, MODEL, noise=0.0)(torch.cat([true, wide, narrow, turned]))
    assert int(scores.argmax()) == 0


def test_likelihood_is_invariant_to_contrast_and_refuses_specks() -> None:
    low = degrade(power_law(128, 2), PRIOR.kernels(shape(2.0, 2.0, 0.0)).float(), 2)
    family = PRIOR.kernels(PRIOR.sample(8, rng=generator(4, "prior")))
    fainter, plain = (
        SpectralLikelihood(0.5 * low, 2, MODEL, noise=0.005)(family),
        SpectralLikelihood(low, 2, MODEL, noise=0.01)(family),
    )
    torch.testing.assert_close(fainter - fainter[0], plain - plain[0], rtol=1e-3, atol=0.5)
    with pytest.raises(FoundryError, match="7x9"):
        SpectralLikelihood(torch.rand(1, 3, 7, 9), 2, MODEL, noise=0.0)


def test_population_finds_a_known_posterior() -> None:
    population, rng = Population(PRIOR), generator(5, "population")
    target = torch.distributions.MultivariateNormal(shape(2.5, 1.5, 0.7)[0], 1e-3 * torch.eye(3, dtype=torch.float64))
    k_hat = PRIOR.mean()
    for _ in range(8):
        shapes = population.draw(128, rng=rng)
        k_hat = population.weigh(shapes, target.log_prob(shapes), temperature=1.0, least=20.0)
    assert population.temperature == 1.0 and population.effective() > 100
    torch.testing.assert_close(population.weights @ population.shapes, target.loc, rtol=0, atol=0.03)
    assert float(k_hat.sum()) == pytest.approx(1.0)


def test_prior_refuses_nonsense() -> None:
    with pytest.raises(FoundryError, match="size 14"):
        GaussianPrior(14, 0.35, 5.0)
    with pytest.raises(FoundryError, match="variances 5"):
        GaussianPrior(15, 5.0, 0.35)

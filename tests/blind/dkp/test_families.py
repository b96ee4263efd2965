"""The kernels that DKP samples, the weights that it gives them, and its kernel network."""

import math

import pytest
import torch

from srfoundry.blind.dkp.families import GaussianPrior
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from tests.blind_cases import PRIOR, shape_of


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
    assert PRIOR.log_density(shape_of(6.0, 1.0, 0.3)).item() == -math.inf


def test_prior_refuses_nonsense() -> None:
    with pytest.raises(FoundryError, match="size 14"):
        GaussianPrior(14, 0.35, 5.0)
    with pytest.raises(FoundryError, match="variances 5"):
        GaussianPrior(15, 5.0, 0.35)

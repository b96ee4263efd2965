"""The likelihood of a kernel by the spectrum of the image."""

import dataclasses

import pytest
import torch

from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels
from srfoundry.degradation.operator import degrade
from srfoundry.degradation.settings import SpectrumModel
from srfoundry.degradation.spectral_likelihood import SpectralLikelihood
from srfoundry.imaging.images import from_uint8, to_uint8
from tests.blind_cases import PRIOR, power_law, shape_of

MODEL = SpectrumModel(noise=0.0, tile=32, keep=1.0, exponent=(2.5, 0.5), softness=0.0)


@pytest.mark.parametrize("scale", [2, 3])
def test_likelihood_prefers_the_true_kernel(scale: int) -> None:
    true, wide, narrow, turned = (
        PRIOR.kernels(shape_of(*values)).float()
        for values in ((3.0, 1.2, 0.5), (4.2, 1.7, 0.5), (2.1, 0.85, 0.5), (3.0, 1.2, 1.4))
    )
    low = from_uint8(to_uint8(degrade(power_law(240, 1), true, scale)))
    scores = SpectralLikelihood(low, scale, MODEL, noise=0.0)(torch.cat([true, wide, narrow, turned]))
    assert int(scores.argmax()) == 0


def test_likelihood_is_invariant_to_contrast_and_refuses_specks() -> None:
    low = degrade(power_law(128, 2), PRIOR.kernels(shape_of(2.0, 2.0, 0.0)).float(), 2)
    family = PRIOR.kernels(PRIOR.sample(8, rng=generator(4, "prior")))
    fainter, plain = (
        SpectralLikelihood(0.5 * low, 2, MODEL, noise=0.005)(family),
        SpectralLikelihood(low, 2, MODEL, noise=0.01)(family),
    )
    torch.testing.assert_close(fainter - fainter[0], plain - plain[0], rtol=1e-3, atol=0.5)
    with pytest.raises(FoundryError, match="7x9"):
        SpectralLikelihood(torch.rand(1, 3, 7, 9), 2, MODEL, noise=0.0)


def test_leakage_finds_the_length_of_a_motion() -> None:
    """Without it, the zeros of a long motion's spectrum seem too full, and shorter ones likelier."""
    lengths, model = torch.tensor([12.0, 15.0, 18.0]), dataclasses.replace(MODEL, tile=48)
    family = kernels.line(25, lengths, torch.full((3,), 0.6)).float()
    low = from_uint8(to_uint8(degrade(power_law(300, 1), family[2:], 2)))
    plain, leaky = (SpectralLikelihood(low, 2, model, noise=0.0, leaks=leaks)(family) for leaks in (False, True))
    assert int(leaky.argmax()) == 2
    assert float(leaky[2] - leaky[1]) > float(plain[2] - plain[1])


def test_a_batch_of_kernels_is_scored_as_each_of_them() -> None:
    low = degrade(power_law(128, 2), PRIOR.kernels(shape_of(2.0, 2.0, 0.0)).float(), 2)
    family = PRIOR.kernels(PRIOR.sample(11, rng=generator(4, "prior"))).float()
    likelihood = SpectralLikelihood(low, 2, MODEL, noise=0.01, leaks=True)
    torch.testing.assert_close(likelihood(family), torch.cat([likelihood(one[None]) for one in family]))

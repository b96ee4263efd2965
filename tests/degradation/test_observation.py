"""An observation degrades as the plain functions do, and makes its own reduced copy."""

import pytest
import torch

from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels, operator
from srfoundry.degradation.conventions import Border
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.imaging import resize

HIGH = torch.rand(1, 3, 24, 30, generator=generator(3))
KERNEL = kernels.normalise(torch.rand(1, 5, 5, generator=generator(4)))


@pytest.mark.parametrize("decimation", ["direct", "bicubic"])
@pytest.mark.parametrize("border", ["reflect", "replicate", "circular"])
def test_it_degrades_as_the_functions_do(decimation: operator.Decimation, border: Border) -> None:
    sampling = Sampling(2, decimation, border)
    low = operator.degrade(HIGH, KERNEL, 2, decimation=decimation, border=border)
    seen = Observation(low, KERNEL, sampling)
    assert seen.degrade(HIGH).equal(low) and sampling.degrade(HIGH, KERNEL).equal(low)
    back = operator.adjoint(low, KERNEL, 2, (24, 30), decimation=decimation, border=border)
    assert sampling.adjoint(low, KERNEL, (24, 30)).equal(back)
    assert (seen.scale, seen.decimation, seen.border) == (2, decimation, border)


def test_no_kernel_means_bicubic() -> None:
    assert Observation(HIGH, None, Sampling(3)).degrade(HIGH).equal(resize.cubic(HIGH, 1 / 3))


def test_the_reduced_copy_has_the_same_blur_and_noise() -> None:
    plain, noisy = (Observation(HIGH, KERNEL, Sampling(2), noise) for noise in (0.0, 0.1))
    assert plain.reduced().equal(operator.degrade(HIGH, KERNEL, 2).clamp(0, 1))
    wanted = operator.add_noise(operator.degrade(HIGH, KERNEL, 2), 0.1, rng=generator(5)).clamp(0, 1)
    assert noisy.reduced(rng=generator(5)).equal(wanted)
    with pytest.raises(FoundryError, match="generator"):
        noisy.reduced()

"""The blurs that are taught: kernels, centred, of every form."""

import pytest
import torch

from srfoundry.blind.unfolded.blurs import draw_blurs
from srfoundry.core.seeds import generator
from srfoundry.degradation import conventions, kernels


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_they_are_centred_kernels_of_many_widths(scale: int) -> None:
    drawn = draw_blurs(64, 31, scale, rng=generator(1, "blurs"))
    assert drawn.shape == (64, 31, 31) and float(drawn.min()) >= 0
    kernels.check(drawn)
    assert float((conventions.centre_of_mass(drawn) - 15).abs().max()) < 0.3
    peaks = drawn.amax(dim=(1, 2))
    assert float(peaks.min()) < 0.03 and float(peaks.max()) > 0.7  # wide ones, and nearly none
    assert torch.equal(drawn, draw_blurs(64, 31, scale, rng=generator(1, "blurs")))

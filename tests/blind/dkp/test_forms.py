"""Forms of a learned kernel: each learns one, and the network has the published size."""

import pytest
import torch

from srfoundry.blind.dkp import forms
from srfoundry.blind.dkp.families import GaussianPrior
from srfoundry.blind.dkp.forms import KernelGenerator
from srfoundry.blind.dkp.losses import divergence
from srfoundry.core.seeds import generator
from tests.blind_cases import kernel


@pytest.mark.parametrize("form", ["network", "taps", "family"])
def test_each_form_learns_a_kernel(form: forms.Form) -> None:
    prior, target = GaussianPrior(11, 0.35, 5.0), kernel(3.5, 1.0, 0.6)
    made = forms.make(form, prior, rng=generator(1, "form"), device=torch.device("cpu"))
    optimiser = torch.optim.Adam(made.parameters(), lr=2e-3 * forms.PACE[form])
    start = float(divergence(target, made()).detach())
    for _ in range(120):
        optimiser.zero_grad()
        loss = divergence(target, made())
        loss.backward()
        optimiser.step()
        forms.keep(made)
    found = made().detach()
    assert found.shape == (1, 11, 11) and float(found.min()) >= 0
    assert float(found.sum()) == pytest.approx(1, abs=1e-5)
    assert float(divergence(target, found)) < 0.05 * start


@pytest.mark.parametrize("size, count", [(11, 322_121), (15, 426_225), (19, 562_361), (21, 642_441)])
def test_published_counts(size: int, count: int) -> None:
    with torch.device("meta"):
        net = KernelGenerator(size)
    assert sum(value.numel() for value in net.parameters()) == count

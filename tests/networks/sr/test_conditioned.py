"""The conditioned network: what it says of its input, what that changes, and how it begins."""

import pytest
import torch

from srfoundry.core.seeds import generator, redraw
from srfoundry.degradation.kernels import gaussian
from srfoundry.networks.sr.conditioned import Conditioned, start_at_bicubic
from srfoundry.networks.sr.drn import DRN
from srfoundry.networks.sr.multiplications import multiplications
from srfoundry.networks.sr.network import DegradationEstimate
from srfoundry.networks.sr.predictor import Predictor, start_at_gaussian, taps_for, waves
from tests.closed import count
from tests.sr_cases import CONDITIONED_CASE


def test_it_says_a_kernel_and_a_noise_for_each_image() -> None:
    net, low = CONDITIONED_CASE.net(), CONDITIONED_CASE.low(2)
    assert isinstance(net, Conditioned)
    estimate = net.estimate(net.prepare(low))
    assert estimate.kernel.shape == (2, 1, 7, 7) and estimate.noise.shape == (2, 1, 1, 1)
    torch.testing.assert_close(estimate.kernel.sum(dim=(1, 2, 3)), torch.ones(2))
    assert bool((estimate.kernel >= 0).all()) and bool(((estimate.noise > 0) & (estimate.noise < 1)).all())
    assert not estimate.kernel[0].equal(estimate.kernel[1])
    alone = net.estimate(net.prepare(low[1:]))
    torch.testing.assert_close(alone.kernel, estimate.kernel[1:], msg="an image's estimate is its own")


def test_what_it_believes_changes_the_image() -> None:
    net, low = CONDITIONED_CASE.net(), CONDITIONED_CASE.low()
    assert isinstance(net, Conditioned)
    prepared = net.prepare(low)
    own = net.estimate(prepared)
    other = DegradationEstimate(own.code + 1, own.logits, own.noise)
    (given,), (changed,) = net.restore(prepared, own), net.restore(prepared, other)
    assert given.equal(net.trunk(prepared)[0]) and not given.equal(changed)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_it_begins_with_a_gaussian_on_the_bicubic_grid_whatever_the_image(scale: int) -> None:
    net = Predictor(taps=taps_for(scale))
    redraw(net, generator(1, "predictor"))
    start_at_gaussian(net, scale)
    variance = torch.tensor([1.25 * scale])
    wanted = gaussian(taps_for(scale), variance, variance, torch.zeros(1), offset=(scale - 1) / 2)
    with torch.no_grad():
        net.kernel.weight.zero_()
        estimate = net(torch.rand(1, 3, 12, 9, generator=generator(0, "low")) - 0.5)
    torch.testing.assert_close(estimate.kernel[:, 0], wanted)
    assert float(estimate.noise.detach()) == pytest.approx(0.02, abs=0.005)


def test_the_waves_are_an_orthonormal_basis_without_the_constant() -> None:
    basis = waves().flatten(1)
    torch.testing.assert_close(basis @ basis.T, torch.eye(24), atol=1e-6, rtol=0)
    torch.testing.assert_close(basis.sum(dim=1), torch.zeros(24), atol=1e-5, rtol=0)


def test_it_costs_no_more_than_the_net_that_it_stands_for() -> None:
    """Eight blocks are a DRN of six; at x4 all of them work at the input's size."""
    low = torch.empty(1, 3, 96, 96, device="meta")
    for scale in (2, 4):
        ours, theirs = Conditioned(scale=scale, blocks=8, width=16), DRN(scale=scale, blocks=6, width=16)
        assert multiplications(ours.to("meta"), low) < multiplications(theirs.to("meta"), low)
    assert count(Conditioned(scale=2, blocks=8, width=16)) == 186_070


def test_it_starts_at_bicubic_whatever_it_believes() -> None:
    net = Conditioned(scale=2, blocks=2, width=4)
    redraw(net, generator(1, "net"))
    start_at_bicubic(net)
    prepared = net.prepare(CONDITIONED_CASE.low())
    own = net.estimate(prepared)
    changed = net.restore(prepared, DegradationEstimate(own.code + 1, own.logits, own.noise))
    images = [net.paint(features) for features in (net.trunk(prepared)[0], changed[0])]
    assert float((images[0] - images[1]).detach().abs().mean()) < 0.01

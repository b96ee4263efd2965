"""Adaptation: zero steps are plain evaluation, steps go down hill, and what cannot work is said."""

import pytest
import torch

from srfoundry import adaptation, degrade, kernels, resize
from srfoundry.errors import FoundryError
from srfoundry.networks.mzsr import MZSR
from srfoundry.seeds import generator, redraw


def small(width: int = 8) -> MZSR:
    net = MZSR(width=width, depth=4)
    redraw(net, generator(1, "net"))
    return net


def test_no_step_is_plain_evaluation() -> None:
    net, low = small(), torch.rand(1, 3, 20, 24, generator=generator(2))
    weights, losses = adaptation.adapt(net, low, None, 2, rates=[])
    assert losses == []
    assert adaptation.restore(net, low, 2, weights=weights).equal(adaptation.restore(net, low, 2))
    plain = net(resize.cubic(low, 2)).clamp(0, 1).detach()
    assert (
        float((adaptation.restore(net, low, 2) - plain).abs().max()) < 1e-6
    )  # another memory order, other last digits


def test_adaptation_lowers_the_sons_loss_and_leaves_the_net_alone() -> None:
    net, low = small(), torch.rand(1, 3, 33, 29, generator=generator(2))  # odd sizes are cropped to have a son
    before = [weight.clone() for weight in net.parameters()]
    kernel, _ = kernels.sample(1, size=7, low=1.0, high=2.0, rng=generator(3))
    _, losses = adaptation.adapt(net, low, kernel, 2, rates=[0.01] * 5)
    assert losses == sorted(losses, reverse=True) and len(losses) == 5
    assert all(a.equal(b) for a, b in zip(before, net.parameters(), strict=True))


def test_a_diverging_adaptation_falls_back_to_its_best_step() -> None:
    net, low = small(), torch.rand(1, 3, 24, 24, generator=generator(2))
    weights, losses = adaptation.adapt(net, low, None, 2, rates=[0.01, 1e3, 1e3, 1e3])
    assert len(losses) < 4 and all(bool(torch.isfinite(value).all()) for value in weights.values())


def test_a_tiny_image_is_refused() -> None:
    with pytest.raises(FoundryError, match="too small"):
        adaptation.adapt(small(), torch.rand(1, 3, 12, 40), None, 2, rates=[0.01])


def test_son_is_the_degradation_of_the_image_itself() -> None:
    low = torch.rand(1, 3, 24, 24, generator=generator(2))
    kernel, _ = kernels.sample(1, size=7, low=1.0, high=2.0, rng=generator(3))
    assert degrade.son(low, kernel, 2).equal(degrade.degrade(low, kernel, 2).clamp(0, 1))
    assert degrade.son(low, None, 2).shape == (1, 3, 12, 12)


def test_the_sons_decimation_is_the_images() -> None:
    """An image that was reduced bicubically after its blur has a son made likewise (MZSR's g^b)."""
    net, low = small(), torch.rand(1, 3, 32, 32, generator=generator(2))
    kernel, _ = kernels.sample(1, size=7, low=1.0, high=2.0, rng=generator(3))
    ways: list[degrade.Decimation] = ["direct", "bicubic"]
    first = {way: adaptation.adapt(net, low, kernel, 2, rates=[0.01], decimation=way)[1] for way in ways}
    assert first["direct"] != first["bicubic"]


def test_a_constant_image_stays_what_it_is() -> None:
    net, low = small(), torch.full((1, 3, 32, 32), 0.5)
    weights, losses = adaptation.adapt(net, low, None, 2, rates=[0.01] * 3)
    assert len(losses) == 3 and all(bool(torch.isfinite(value).all()) for value in weights.values())


@pytest.mark.parametrize(
    ("kernel", "said"), [(torch.full((1, 4, 4), 1 / 16), "odd"), (torch.ones(1, 3, 3), "sum to 1")]
)
def test_what_is_no_kernel_is_said(kernel: torch.Tensor, said: str) -> None:
    with pytest.raises(FoundryError, match=said):
        adaptation.adapt(small(), torch.rand(1, 3, 32, 32), kernel, 2, rates=[0.01])

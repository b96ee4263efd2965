"""Restoration by a non-blind network: photographs, which are not periodic, and images of any size."""

import torch

from srfoundry.blind.nonblind_restoration import make_periodic, restore_by_usrnet
from srfoundry.core.seeds import generator
from srfoundry.degradation.conventions import Border
from srfoundry.degradation.kernels import gaussian
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.degradation.operator import degrade
from tests.nonblind import tiny_usrnet


def test_a_photograph_rings_no_more_at_its_border_than_inside() -> None:
    """A ramp's ends differ, so that a periodic restoration rings there; joined ends do not."""
    rows = torch.linspace(0.1, 0.9, 96).view(1, 1, -1, 1).expand(1, 3, 96, 96)
    high = rows + 0.05 * torch.sin(torch.arange(96.0) / 3)
    blur = gaussian(11, *(torch.tensor([value]) for value in (2.0, 2.0, 0.0)))
    low = degrade(high, blur, 2, border="replicate")

    def error(border: Border) -> tuple[float, float]:
        found = restore_by_usrnet(tiny_usrnet().eval(), Observation(low, blur, Sampling(2, border=border)))
        wrong = (found - high).square().mean(dim=1)[0]
        band = torch.ones_like(wrong, dtype=torch.bool)
        band[8:-8, 8:-8] = False
        return float(wrong[band].mean()), float(wrong[~band].mean())

    assert error("reflect")[0] < 0.05 * error("circular")[0]


def test_room_for_the_kernel_but_no_more_than_the_image() -> None:
    low = torch.rand(1, 3, 9, 4, generator=generator(1, "low"))
    wide = make_periodic(low, 11, 2)
    assert wide.shape == (1, 3, 18, 8) and torch.equal(wide[..., :9, :4], low)


def test_tiles_agree_with_the_whole() -> None:
    net, low = tiny_usrnet().eval(), torch.rand(1, 3, 70, 40, generator=generator(1, "low"))
    blur = gaussian(7, *(torch.tensor([value]) for value in (1.0, 1.0, 0.0)))
    observation = Observation(low, blur, Sampling(2))
    whole, parts = restore_by_usrnet(net, observation), restore_by_usrnet(net, observation, tile=48)
    assert float((whole - parts).abs().max()) < 0.2 and float((whole - parts).abs().mean()) < 0.01

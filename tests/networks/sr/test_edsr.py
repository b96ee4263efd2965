"""EDSR: published sizes. What it shares with SwinIR is in test_network."""

import pytest
import torch

from srfoundry.networks.sr.edsr import EDSR
from tests.closed import count


@pytest.mark.parametrize(("scale", "trainable"), [(2, 1_369_859), (3, 1_554_499), (4, 1_517_571)])
def test_baseline_parameters_as_published(scale: int, trainable: int) -> None:
    net = EDSR(scale=scale)
    assert count(net) == trainable + 24, "the mean shifts are frozen"
    assert sum(weight.numel() for weight in net.parameters() if weight.requires_grad) == trainable


def test_large_parameters_as_published() -> None:
    with torch.device("meta"):
        nets = [EDSR(scale=scale, blocks=32, width=256, strength=0.1) for scale in (2, 3, 4)]
    assert [count(net) - 24 for net in nets] == [40_729_603, 43_680_003, 43_089_923]

"""Small masked networks, for the tests of MSGC."""

from typing import Any

import torch
from torch import Tensor, nn

from srfoundry.compression.msgc.layer_pairs import pairs_of
from srfoundry.compression.msgc.masked_conv import (
    MSGConv2d,
    sampling,
    wrap,
)
from srfoundry.core.seeds import generator, redraw
from srfoundry.networks.sr.edsr import EDSR

LOW = torch.rand(2, 3, 9, 7, generator=generator(1, "low"))


def edsr(width: int = 16) -> EDSR:
    net = EDSR(scale=2, blocks=2, width=width)
    redraw(net, generator(1, "net"))
    return net


def shaken(net: Any, groups: int = 4) -> Any:
    """The net wrapped, with logits that differ and are partly below zero."""
    masked = wrap(net, pairs_of(net.units()), groups=groups)
    for layer in masked.modules():
        if isinstance(layer, MSGConv2d):
            assert layer.logits is not None
            layer.logits.data = torch.randn(layer.logits.shape, generator=generator(1, layer.name)) + 0.5
    return masked


def thresholded(net: nn.Module) -> dict[str, Tensor]:
    with sampling(net) as masks, torch.no_grad():
        net(LOW)
    return masks

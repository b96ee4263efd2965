"""Untrained networks by their arch, ready to be trained."""

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import nn

from srfoundry.core.compute import channels_last
from srfoundry.core.seeds import redraw
from srfoundry.networks.zoo.architectures import ARCHITECTURES, build

Net = TypeVar("Net", bound=nn.Module)


def drawn(arch: Mapping[str, Any], kind: type[Net], *, rng: torch.Generator, device: torch.device) -> Net:
    """The network of a card's arch, its weights drawn anew and then set to where its training starts.

    Args:
        arch: its `name` and keywords.
        kind: its class.
        rng: of the weights.
        device: where it will compute.
    """
    net = build(arch)
    assert isinstance(net, kind)
    redraw(net, rng)
    ARCHITECTURES[arch["name"]].start_at_bicubic(net)
    return channels_last(net, device)

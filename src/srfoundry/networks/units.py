"""What may be removed from a network: its inner widths, each a producer and a consumer convolution.

A network lists its units (`DRN.units`); search, selection and surgery know nothing else about it. Removing channel c
of a unit removes input channel c of the consumer and, of the producer, output channels fold c .. fold c + fold - 1
(fold is 1, or 4 where a pixel shuffle by 2 stands between the two).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Unit:
    """One inner width: module names of the conv that makes the channels and of the only conv that reads them."""

    name: str
    producer: str
    consumer: str
    fold: int = 1


def convolution(net: nn.Module, name: str) -> nn.Conv2d:
    """The convolution of that name; TypeError for anything else, since surgery on it would be wrong."""
    module = net.get_submodule(name)
    if not isinstance(module, nn.Conv2d) or module.groups != 1:
        raise TypeError(f"a unit's ends must be plain convolutions, got {type(module).__name__} at {name}")
    return module


def width_of(net: nn.Module, unit: Unit) -> int:
    """The unit's present width in channels of its consumer."""
    return convolution(net, unit.consumer).in_channels


def widths_of(net: nn.Module, units: Sequence[Unit]) -> list[int]:
    """All present widths, in the network's order."""
    return [width_of(net, unit) for unit in units]


def parameters_per_channel(net: nn.Module, unit: Unit) -> int:
    """Parameters that one channel of the unit carries; exact because units share no tensor and neither end is inner
    to another unit, so the parameter count of a net is affine in its widths."""
    producer, consumer = convolution(net, unit.producer), convolution(net, unit.consumer)
    taken = producer.weight[0].numel() + (0 if producer.bias is None else 1)
    return unit.fold * taken + consumer.weight[:, 0].numel()


def parameters_at(net: nn.Module, units: Sequence[Unit], widths: Sequence[float] | Tensor) -> float | Tensor:
    """Parameters of the net if its units had these widths: exact for integers, differentiable for a tensor."""
    total = sum(parameter.numel() for parameter in net.parameters())
    costs = [parameters_per_channel(net, unit) for unit in units]
    dense = widths_of(net, units)
    if isinstance(widths, Tensor):
        return total - (widths.new_tensor(costs) * (widths.new_tensor(dense) - widths)).sum()
    return total - sum(cost * (full - kept) for cost, full, kept in zip(costs, dense, widths, strict=True))


def producer_rows(kept: Tensor, fold: int) -> Tensor:
    """Output channels of the producer that belong to the kept channels, in order."""
    return (kept[:, None] * fold + torch.arange(fold, device=kept.device)[None]).flatten()

"""What may be removed from a network: its inner widths, each a producer and a consumer convolution.

A network lists its units (`DRN.units`); search, selection and surgery know nothing else about it. Removing channel c
of a unit removes input channel c of the consumer and, of the producer, output channels fold c .. fold c + fold - 1
(fold is 1, or s^2 where a pixel shuffle by s stands between the two).
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

Net = TypeVar("Net", bound=nn.Module)


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


def parameters_at(net: nn.Module, units: Sequence[Unit], widths: Sequence[int]) -> int:
    """Parameters of the net if its units had these widths; exact."""
    total = sum(parameter.numel() for parameter in net.parameters())
    costs = [parameters_per_channel(net, unit) for unit in units]
    dense = widths_of(net, units)
    return total - sum(cost * (full - kept) for cost, full, kept in zip(costs, dense, widths, strict=True))


def producer_rows(kept: Tensor, fold: int) -> Tensor:
    """Output channels of the producer that belong to the kept channels, in order."""
    return (kept[:, None] * fold + torch.arange(fold, device=kept.device)[None]).flatten()


def thin(net: Net, units: Sequence[Unit], kept: Sequence[Tensor]) -> Net:
    """A copy of the net without the other channels: real surgery, smaller dense convolutions.

    Equal to the net in which the consumers' other input channels are zero. A kept list holds channel indices of one
    unit in the order in which they shall lie.

    Raises:
        ValueError: a list is empty, repeats a channel, or names one that the unit does not have.
    """
    smaller = copy.deepcopy(net)
    for unit, channels in zip(units, kept, strict=True):
        producer, consumer = convolution(smaller, unit.producer), convolution(smaller, unit.consumer)
        chosen = channels.tolist()
        if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(range(consumer.in_channels)):
            raise ValueError(
                f"kept channels of {unit.name} must be distinct and below {consumer.in_channels}, got {chosen}; "
                "name at least one"
            )
        rows = producer_rows(channels, unit.fold)
        producer.weight = nn.Parameter(producer.weight.detach()[rows].clone())
        if producer.bias is not None:
            producer.bias = nn.Parameter(producer.bias.detach()[rows].clone())
        consumer.weight = nn.Parameter(consumer.weight.detach()[:, channels].clone())
        producer.out_channels, consumer.in_channels = len(rows), len(chosen)
    return smaller


def importance_order(weight: Float[Tensor, "o c k k"]) -> Int[Tensor, " c"]:
    """Input channels by the L1 norm of their slice, largest first (DRC); ties in index order; no gradient."""
    norms = weight.detach().abs().sum(dim=(0, 2, 3))
    return torch.argsort(norms, descending=True, stable=True)


def largest(net: nn.Module, units: Sequence[Unit], widths: Sequence[int]) -> list[Tensor]:
    """The channels that plain magnitude would keep: for each unit the `width` heaviest, in index order."""
    orders = [importance_order(convolution(net, unit.consumer).weight) for unit in units]
    return [order[:width].sort().values for order, width in zip(orders, widths, strict=True)]


def channels_last(net: Net, device: torch.device) -> Net:
    """The net on a device with its weights in channels-last order, the convolutions' quick layout; in place."""
    return net.to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def multiplications(net: nn.Module, low: Float[Tensor, "b c h w"]) -> int:
    """Multiply-adds of one pass over `low`, counted as the papers do: products, and one addition a bias.

    Half of the operations that PyTorch counts, plus the outputs of the convolutions with a bias.
    """
    biases = 0

    def hook(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal biases
        biases += 0 if module.bias is None else output.numel()

    handles = [part.register_forward_hook(hook) for part in net.modules() if isinstance(part, nn.Conv2d)]
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net(low)
    finally:
        for handle in handles:
            handle.remove()
    return counter.get_total_flops() // 2 + biases

"""What may be removed from a network: its inner widths, each with the layer that makes it and the one that reads it.

A network lists its units (`DRN.units`); search, selection and surgery use nothing else of it. The two layers are
plain convolutions or linear layers. Removing channel c of a unit removes input channel c of the consumer (`spans`
times) and, of the producer, the outputs that make it: fold of them, neighbours, where a pixel shuffle stands between
the two, `copies` times over. An attention block's qkv layer is such a producer: its outputs lie as (3 x heads, d), its
reader's inputs as (heads, d), so removing a channel removes it from every head's queries, keys and values.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)
End = nn.Conv2d | nn.Linear


@dataclass(frozen=True)
class Unit:
    """One inner width: module names of the layer that makes the channels and of the only layer that reads them.

    Args:
        name: of the unit in tables and cards.
        producer, consumer: module names of its two ends.
        fold: outputs of the producer that make one channel, s^2 where a pixel shuffle by s stands between the two.
        copies, spans: the producer's outputs lie as (copies, width, fold), the consumer's inputs as (spans, width).
        gates: modules between the two whose input's last axis is the unit's width as well and is masked together with
            the consumer's input: the queries of an attention, so that the products of queries and keys lose the
            channel too.
    """

    name: str
    producer: str
    consumer: str
    fold: int = 1
    copies: int = 1
    spans: int = 1
    gates: tuple[str, ...] = ()


def end_of(net: nn.Module, name: str) -> End:
    """The layer of that name; TypeError for another kind, since surgery on it would be wrong."""
    module = net.get_submodule(name)
    if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1):
        return module
    raise TypeError(f"a unit's ends must be plain convolutions or linear layers, got {type(module).__name__} at {name}")


def width_of(net: nn.Module, unit: Unit) -> int:
    """The unit's present width: input channels of its consumer, of one span."""
    return end_of(net, unit.consumer).weight.shape[1] // unit.spans


def widths_of(net: nn.Module, units: Sequence[Unit]) -> list[int]:
    """All present widths, in the network's order."""
    return [width_of(net, unit) for unit in units]


def parameters_per_channel(net: nn.Module, unit: Unit) -> int:
    """Parameters that one channel of the unit carries; exact because units share no tensor and neither end is inner
    to another unit, so the parameter count of a net is affine in its widths."""
    producer, consumer = end_of(net, unit.producer), end_of(net, unit.consumer)
    taken = producer.weight[0].numel() + (0 if producer.bias is None else 1)
    return unit.copies * unit.fold * taken + unit.spans * consumer.weight[:, 0].numel()


def parameters_at(net: nn.Module, units: Sequence[Unit], widths: Sequence[int]) -> int:
    """Parameters of the net if its units had these widths; exact."""
    total = sum(parameter.numel() for parameter in net.parameters())
    costs = [parameters_per_channel(net, unit) for unit in units]
    dense = widths_of(net, units)
    return total - sum(cost * (full - kept) for cost, full, kept in zip(costs, dense, widths, strict=True))


def producer_rows(kept: Int[Tensor, " k"], unit: Unit, width: int) -> Int[Tensor, " rows"]:
    """Outputs of the producer that belong to the kept channels of `width`, in the order (copies, kept, fold)."""
    copies = torch.arange(unit.copies, device=kept.device)[:, None, None] * width
    fold = torch.arange(unit.fold, device=kept.device)
    return ((copies + kept[None, :, None]) * unit.fold + fold).flatten()


def consumer_columns(kept: Int[Tensor, " k"], unit: Unit, width: int) -> Int[Tensor, " columns"]:
    """Inputs of the consumer that belong to the kept channels of `width`, in the order (spans, kept)."""
    return (torch.arange(unit.spans, device=kept.device)[:, None] * width + kept[None]).flatten()


def thin(net: Net, units: Sequence[Unit], kept: Sequence[Tensor]) -> Net:
    """A copy of the net without the other channels: real surgery, smaller dense layers.

    Equal to the net in which the other channels are `masked`. A kept list holds channel indices of one unit in the
    order in which they shall lie.

    Raises:
        ValueError: a list is empty, repeats a channel, or names one that the unit does not have.
    """
    smaller = copy.deepcopy(net)
    for unit, channels in zip(units, kept, strict=True):
        producer, consumer = end_of(smaller, unit.producer), end_of(smaller, unit.consumer)
        width, chosen = width_of(smaller, unit), channels.tolist()
        if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(range(width)):
            raise ValueError(
                f"kept channels of {unit.name} must be distinct and below {width}, got {chosen}; name at least one"
            )
        rows, columns = producer_rows(channels, unit, width), consumer_columns(channels, unit, width)
        producer.weight = nn.Parameter(producer.weight.detach()[rows].clone())
        if producer.bias is not None:
            producer.bias = nn.Parameter(producer.bias.detach()[rows].clone())
        consumer.weight = nn.Parameter(consumer.weight.detach()[:, columns].clone())
        setattr(producer, "out_channels" if isinstance(producer, nn.Conv2d) else "out_features", len(rows))
        setattr(consumer, "in_channels" if isinstance(consumer, nn.Conv2d) else "in_features", len(columns))
    return smaller


@contextmanager
def masked(
    net: nn.Module,
    units: Sequence[Unit],
    factors: Sequence[Callable[[], Float[Tensor, " _"]]],
    *,
    gates_only: bool = False,
) -> Iterator[None]:
    """A context in which each unit's channels are multiplied by its factors, computed anew in every pass.

    They act on the consumer's input, which for zeros and ones is removal, and on the gates' inputs.

    Args:
        factors: for each unit a function to its factors, one a channel.
        gates_only: for consumers whose weights are zero already.
    """

    def hook(factors_of: Callable[[], Tensor], spans: int) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor]]:
        def multiply(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
            factor = factors_of().to(inputs[0].dtype).repeat(spans)
            return (inputs[0] * (factor[:, None, None] if isinstance(module, nn.Conv2d) else factor),)

        return multiply

    with ExitStack() as stack:
        for unit, factors_of in zip(units, factors, strict=True):
            places = [(gate, 1) for gate in unit.gates] + ([] if gates_only else [(unit.consumer, unit.spans)])
            for name, spans in places:
                handle = net.get_submodule(name).register_forward_pre_hook(hook(factors_of, spans))
                stack.callback(handle.remove)
        yield


def importance_order(weight: Float[Tensor, "o c *k"], spans: int = 1) -> Int[Tensor, " width"]:
    """Channels by the L1 norm of their slices, largest first (DRC); ties in index order; no gradient."""
    norms = weight.detach().abs().sum(dim=(0, *range(2, weight.ndim)))
    return torch.argsort(norms.reshape(spans, -1).sum(dim=0), descending=True, stable=True)


def read(net: nn.Module, unit: Unit, activity: Float[Tensor, " width"] | None = None) -> Float[Tensor, "o c *k"]:
    """The consumer's weights, those of each channel times its activity if that is given; no gradient."""
    weight = end_of(net, unit.consumer).weight.detach()
    if activity is None:
        return weight
    return weight * activity.to(weight).repeat(unit.spans).reshape(-1, *[1] * (weight.ndim - 2))


def largest(
    net: nn.Module, units: Sequence[Unit], widths: Sequence[int], activities: Sequence[Tensor] | None = None
) -> list[Tensor]:
    """The channels that importance would keep: for each unit its `width` first in `importance_order`, in index order.

    With `activities` the order is by weights times what comes through them (`read`).
    """
    given = [None] * len(units) if activities is None else activities
    orders = [importance_order(read(net, *each), each[0].spans) for each in zip(units, given, strict=True)]
    return [order[:width].sort().values for order, width in zip(orders, widths, strict=True)]

"""The net of plain operators that a net with settled masks is: pruned makers, Gather, grouped convolution."""

import copy
import warnings
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from srfoundry.compression.msgc.layer_pairs import LayerPair, conv_of, depthwise
from srfoundry.compression.msgc.masked_conv import layer_of, static_logits
from srfoundry.core.errors import FoundryError
from srfoundry.networks.zoo.gather_conv import GatherConv2d, like

Net = TypeVar("Net", bound=nn.Module)


def convert(net: Net, pairs: Sequence[LayerPair], *, multiple: int = 4, ragged: bool = False) -> Net:
    """The net of plain operators that a net with settled static masks is: pruned makers, Gather, grouped convolution.

    Equal to the masked net but for rounding. Where a layer reads all it stays, or becomes, a plain convolution.

    Args:
        multiple: sizes of groups that are no multiple of it are warned about (unless they are whole): slow.
        ragged: fill smaller groups up with channels of weight zero, and warn, instead of refusing them.

    Raises:
        FoundryError: masks are sample-wise or with attention factors, or the groups of a layer differ in size.
    """
    plain = copy.deepcopy(net)
    for pair in pairs:
        reader = static_logits(plain, pair.reader)
        mask = reader >= 0
        _check(pair.reader, mask, multiple, ragged)
        index, real = _filled(mask)
        used = torch.unique(index)
        layer = layer_of(plain, pair.reader).conv
        place = torch.full((mask.shape[1],), -1, device=mask.device).scatter_(0, used, torch.arange(len(used)).to(used))
        plain.set_submodule(pair.reader, _gathering(layer, index, real, place[index], inputs=len(used)))
        _narrow_makers(plain, pair, used)
    return plain


def _check(name: str, mask: Tensor, multiple: int, ragged: bool) -> None:
    sizes = mask.sum(1).tolist()
    if len(set(sizes)) > 1 and not ragged:
        raise FoundryError(
            f"the groups of {name} must read equally many channels, got {sizes}: a runtime needs longer for such a "
            "layer than for the dense one; choose masks by mask_choice.settle, or say ragged=True"
        )
    odd = max(sizes) % multiple and max(sizes) < mask.shape[1]
    if len(set(sizes)) > 1 or odd:
        warnings.warn(
            f"the groups of {name} read {sizes} channels; runtimes are quick at equal multiples of {multiple}",
            stacklevel=3,
        )


def _filled(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Channels of each group, g x k, and which of these places are the group's own; the others are fill."""
    sizes = mask.sum(1)
    size = max(1, int(sizes.max()))
    order = torch.argsort(mask.to(torch.uint8), dim=1, descending=True, stable=True)[:, :size]
    real = torch.arange(size, device=mask.device)[None] < sizes[:, None]
    some = order[int(sizes.argmax()), 0]  # fill with what is read anyway
    return torch.where(real, order, some), real


def _gathering(conv: nn.Conv2d, index: Tensor, real: Tensor, place: Tensor, *, inputs: int) -> nn.Module:
    """The reader: weights of the chosen channels, group by group, and where those channels are now."""
    groups, size = index.shape
    weight = conv.weight.detach().unflatten(0, (groups, -1))  # g o c k l
    taken = torch.stack([weight[g][:, index[g]] for g in range(groups)])
    taken = taken * real[:, None, :, None, None]
    if size == inputs and bool((place == torch.arange(inputs, device=place.device)).all()):
        made = like(conv, inputs=inputs, outputs=conv.out_channels, groups=1)
        return _filled_in(made, taken.flatten(0, 1), conv.bias)
    made = like(conv, inputs=groups * size, outputs=conv.out_channels, groups=groups)
    _filled_in(made, taken.flatten(0, 1), conv.bias)
    return GatherConv2d(made, place.flatten(), inputs)


def _narrow_makers(net: nn.Module, pair: LayerPair, used: Tensor) -> None:
    """Leave the makers and norms of a pair the used channels alone, and what the first maker reads."""
    rows = (used[:, None] * pair.fold + torch.arange(pair.fold, device=used.device)).flatten()
    for position, name in enumerate(pair.makers):
        conv = layer_of(net, name).conv if position == 0 and pair.narrow else conv_of(net, name)
        alone, index = depthwise(conv), None
        if position == 0:
            index = torch.arange(conv.in_channels, device=used.device)
            if alone:
                index = used
            elif pair.narrow:
                index = (static_logits(net, name)[0] >= 0).nonzero()[:, 0]
            if len(index) == 0:
                raise FoundryError(f"{name} must read a channel at least, got masks that shut all; settle them first")
        weight = conv.weight.detach()[rows]
        if index is not None and not alone:
            weight = weight[:, index]
        read = len(rows) if alone else len(index) if index is not None else conv.in_channels
        made = like(conv, inputs=read, outputs=len(rows), groups=len(rows) if alone else 1)
        _filled_in(made, weight, None if conv.bias is None else conv.bias.detach()[rows])
        if index is None or len(index) == conv.in_channels:
            net.set_submodule(name, made)
        else:
            net.set_submodule(name, GatherConv2d(made, index, conv.in_channels))
    for name in pair.norms:
        norm = net.get_submodule(name)
        assert isinstance(norm, nn.BatchNorm2d)
        for key, value in [*norm.named_parameters(), *norm.named_buffers()]:
            if value.ndim:
                kept = value.detach()[used].clone()
                setattr(norm, key, nn.Parameter(kept) if isinstance(value, nn.Parameter) else kept)
        norm.num_features = len(used)


def _filled_in(conv: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    with torch.no_grad():
        conv.weight.copy_(weight)
        if bias is not None:
            assert conv.bias is not None
            conv.bias.copy_(bias)
    return conv

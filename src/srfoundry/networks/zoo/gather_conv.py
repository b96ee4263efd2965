"""A convolution whose filter groups each read channels of their own choice: one Gather, then one grouped convolution.

What a middle-spectrum grouped convolution (Yang et al., arXiv 2304.06305) becomes when its masks are settled. A runtime
needs nothing but these two operations. A checkpoint's card lists such layers under `grouped`, and `regroup` puts them
in before the weights are loaded.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional


class GatherConv2d(nn.Module):
    """y = conv(x[:, index]), bias included; `index` is frozen and lies group after group.

    Equal to the dense convolution whose weights for the channels that a group does not read are zero, and while
    gradients are taken it runs as that one: PyTorch trains it in half the time. Exported graphs gather.
    """

    index: Tensor

    def __init__(self, conv: nn.Conv2d, index: Int[Tensor, " n"], inputs: int) -> None:
        super().__init__()
        if len(index) != conv.in_channels:
            raise ValueError(f"index must name the {conv.in_channels} channels that the layer reads, got {len(index)}")
        self.conv, self.inputs = conv, inputs
        self.register_buffer("index", index.clone().long())
        self.register_load_state_dict_post_hook(_check)  # a file's index is not to be believed
        _check(self)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o h2 w2"]:
        if torch.is_grad_enabled() and self.conv.in_channels > self.conv.groups:  # a depthwise layer gathers
            conv, dense = self.conv, self._dense()
            assert not isinstance(conv.padding, str)
            return functional.conv2d(features, dense, conv.bias, conv.stride, conv.padding, conv.dilation)
        return self.conv(features.index_select(1, self.index))

    def _dense(self) -> Float[Tensor, "o c k l"]:
        """The weights for all input channels; a channel that a group lists twice has the sum."""
        weight, groups = self.conv.weight, self.conv.groups
        index = self.index.reshape(groups, 1, -1).expand(groups, len(weight) // groups, -1).flatten(0, 1)
        zeros = weight.new_zeros(len(weight), self.inputs, *weight.shape[2:])
        return zeros.scatter_add(1, index[..., None, None].expand_as(weight), weight)


def _check(layer: nn.Module, _keys: object = None) -> None:
    assert isinstance(layer, GatherConv2d)
    lowest, highest = int(layer.index.min()), int(layer.index.max())
    if not 0 <= lowest <= highest < layer.inputs:
        raise ValueError(f"index must name channels from 0 to below {layer.inputs}, got {lowest} to {highest}")


def like(conv: nn.Conv2d, *, inputs: int, outputs: int, groups: int) -> nn.Conv2d:
    """An untrained convolution with this one's window, stride, bias, device and dtype."""
    size, stride, padding, dilation = conv.kernel_size, conv.stride, conv.padding, conv.dilation
    return nn.Conv2d(
        inputs, outputs, size, stride=stride, padding=padding, dilation=dilation, groups=groups,  # pyright: ignore
        bias=conv.bias is not None, device=conv.weight.device, dtype=conv.weight.dtype,
    )  # fmt: skip


def grouped_layers(net: nn.Module) -> dict[str, list[int]]:
    """For a card: name of each gathering layer -> [inputs, channels read in all, groups]; empty for a plain net."""
    return {
        name: [layer.inputs, layer.conv.in_channels, layer.conv.groups]
        for name, layer in net.named_modules()
        if isinstance(layer, GatherConv2d)
    }


def regroup(net: nn.Module, grouped: Mapping[str, Sequence[int]]) -> nn.Module:
    """Put untrained gathering layers where a card says they are, for weights to be loaded; in place.

    Raises:
        ValueError: a layer is no convolution, has other inputs, or its numbers make no grouped one.
    """
    for name, (inputs, read, groups) in grouped.items():
        conv = net.get_submodule(name)
        if not isinstance(conv, nn.Conv2d):
            raise ValueError(f"grouped must name convolutions, got a {type(conv).__name__} at {name}")
        if inputs != conv.in_channels:
            raise ValueError(f"grouped must have the inputs of {name}, {conv.in_channels}, got {inputs}")
        layer = like(conv, inputs=read, outputs=conv.out_channels, groups=groups)
        net.set_submodule(name, GatherConv2d(layer, torch.zeros(read, dtype=torch.long), inputs))
    return net

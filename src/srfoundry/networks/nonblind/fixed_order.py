"""Border and pooling whose gradients a GPU adds up in the same order each time: PyTorch's own use atomic additions."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from srfoundry.core.compute import is_gpu


def reflect(features: Float[Tensor, "b c h w"], room: int) -> Float[Tensor, "b c h2 w2"]:
    """Mirror `room` pixels at each border, the edge pixel left out: PyTorch's `reflect`.

    Args:
        features: of more than `room` pixels a side.
        room: pixels.
    """
    if not is_gpu(features.device):
        return functional.pad(features, (room, room, room, room), mode="reflect")
    for dim in (-2, -1):
        last = features.shape[dim] - 1
        place = torch.arange(-room, last + 1 + room, device=features.device).abs()
        features = features.index_select(dim, last - (last - place).abs())
    return features


def halved_by_maxima(features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """The largest of each 2x2 pixels, of fewer at an odd border; on a GPU equal ones share the gradient."""
    if not is_gpu(features.device):
        return functional.max_pool2d(features, 2, ceil_mode=True)
    height, width = features.shape[-2:]
    even = functional.pad(features, (0, width % 2, 0, height % 2), value=float("-inf"))
    return even.unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2)).amax(dim=(-3, -1))


class MirroredConv2d(nn.Conv2d):
    """A convolution of odd size that sees the image mirrored beyond its border."""

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        seen = reflect(input, self.kernel_size[0] // 2)
        return functional.conv2d(seen, self.weight, self.bias, self.stride)

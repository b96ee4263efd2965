"""The untrained image network of deep image prior (DIP): a U-Net with skip branches and non-local blocks (G_x)."""

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from srfoundry.core.seeds import redraw
from srfoundry.networks.nonblind.fixed_order import MirroredConv2d, halved_by_maxima

SLOPE = 0.2  # of LeakyReLU
Net = TypeVar("Net", bound=nn.Module)


class NonLocal(nn.Module):
    """Embedded dot products over a 2x2 max-pooled map, no softmax: x + BN(conv(A g)), the identity at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = max(1, width // 2)
        self.theta, self.phi, self.g = (nn.Conv2d(width, inner, 1) for _ in range(3))
        self.out = nn.Conv2d(inner, width, 1)
        self.norm = _norm(width)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        pooled = [_pool(part(features)).flatten(2) for part in (self.phi, self.g)]
        theta = self.theta(features).flatten(2)
        # theta' (phi g' / N) is (theta' phi / N) g' with the small product first.
        context = pooled[0] @ pooled[1].transpose(1, 2) / pooled[0].shape[-1]
        mixed = (context.transpose(1, 2) @ theta).unflatten(2, features.shape[-2:])
        return features + self.norm(self.out(mixed))


class Level(nn.Module):
    """One level: a thin skip branch beside the deeper levels at half the size, joined and mixed."""

    def __init__(self, entering: int, width: int, skip: int, deeper: nn.Module, non_local: bool) -> None:
        super().__init__()
        self.skip = _unit(entering, skip, 1)
        self.down = _unit(entering, width, 3, stride=2)
        self.attend = NonLocal(width) if non_local else nn.Identity()
        self.mix = _unit(width, width, 3)
        self.deeper = deeper
        self.join = _norm(skip + width)
        self.up = nn.Sequential(_unit(skip + width, width, 3), _unit(width, width, 1))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        deep = self.deeper(self.mix(self.attend(self.down(features))))
        deep = functional.interpolate(deep, scale_factor=2, mode="bilinear", align_corners=False)
        deep = _centre(deep, features.shape[-2:])  # larger by one where a size was odd
        return self.up(self.join(torch.cat([self.skip(features), deep], dim=1)))


class Skip(nn.Module):
    """G_x of DKP (the network of DIP-FKP): code in, image in [0, 1] out; 2,359,939 parameters at the defaults.

    Args:
        width, skip: channels of the trunk and of the skip branches (DKP: 128, 16).
        levels: how often the size is halved (DKP: 5).
        non_local: the first level, from 0, that has a non-local block (DKP: 2).

    Normalisation always uses the one image's own statistics, as DIP does.
    """

    multiple_of = 1

    def __init__(self, *, code: int = 3, width: int = 128, skip: int = 16, levels: int = 5, non_local: int = 2) -> None:
        super().__init__()
        trunk: nn.Module = nn.Identity()
        for level in reversed(range(levels)):
            trunk = Level(code if level == 0 else width, width, skip, trunk, level >= non_local)
        self.trunk = trunk
        self.head = nn.Conv2d(width, 3, 1)

    def forward(self, code: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 h w"]:
        return torch.sigmoid(self.head(self.trunk(code)))


def draw(make: Callable[[], Net], *, rng: torch.Generator, device: torch.device | str) -> Net:
    """Make a network with PyTorch's default initial weights, but drawn from `rng`: global generators stay untouched."""
    with torch.device("meta"):
        net = make()
    net = net.to_empty(device=device)
    with torch.no_grad():
        redraw(net, rng)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(1.0)
                module.bias.zero_()
        for module in net.modules():
            if isinstance(module, NonLocal):
                module.norm.weight.zero_()  # it starts as the identity
    return net


def published(net: Skip, rng: torch.Generator) -> Skip:
    """Draw the weights of all convolutions anew, in place, in the order in which the published program makes them.

    That order is level by level from the outside in, and in a non-local block g, out, theta, phi; with the generator
    that the program seeds, its very weights come out.
    """
    level = net.trunk
    with torch.no_grad():
        while isinstance(level, Level):
            block = level.attend
            inner = [block.g, block.out, block.theta, block.phi] if isinstance(block, NonLocal) else []
            for part in (level.skip, level.down, *inner, level.mix, level.up):
                for layer in part.modules():
                    if isinstance(layer, nn.Conv2d):
                        default(layer, rng)
            level = level.deeper
        default(net.head, rng)
    return net


def default(layer: nn.Module, rng: torch.Generator) -> None:
    """PyTorch's initial weights of one convolution or linear map, drawn from `rng` to the bit, in place."""
    assert isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None
    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=rng)
    bound = 1 / math.sqrt(layer.weight[0].numel())
    nn.init.uniform_(layer.bias, -bound, bound, generator=rng)


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, track_running_stats=False)


def _unit(entering: int, leaving: int, size: int, stride: int = 1) -> nn.Sequential:
    kind = MirroredConv2d if size > 1 else nn.Conv2d  # a 1x1 convolution has no border
    conv = kind(entering, leaving, size, stride=stride)
    return nn.Sequential(conv, _norm(leaving), nn.LeakyReLU(SLOPE))


def _pool(features: Tensor) -> Tensor:
    return halved_by_maxima(features) if min(features.shape[-2:]) > 1 else features


def _centre(features: Tensor, size: torch.Size) -> Tensor:
    top, left = ((have - want) // 2 for have, want in zip(features.shape[-2:], size, strict=True))
    return features[..., top : top + size[0], left : left + size[1]]

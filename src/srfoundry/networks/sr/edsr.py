"""EDSR (Lim et al., CVPRW 2017): plain residual blocks at the input's size, then pixel shuffles; no normalisation."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from srfoundry.core.checkpointing import CheckpointedBlock
from srfoundry.imaging.scales import steps_of
from srfoundry.networks.sr.bicubic_start import FAINT, carry_colours
from srfoundry.networks.sr.fixed_layers import MeanShift, rescale_to_one
from srfoundry.networks.sr.network import SRNetwork
from srfoundry.networks.sr.prunable import Unit
from srfoundry.networks.zoo.published_layout import PublishedLayout


class ResidualBlock(CheckpointedBlock):
    """x + strength * conv(ReLU(conv(x)))."""

    def __init__(self, width: int, inner: int, strength: float) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, inner, 3, padding=1)
        self.second = nn.Conv2d(inner, width, 3, padding=1)
        self.strength = strength

    def forward(self, features: Tensor) -> Tensor:
        return features + self.strength * self.second(functional.relu(self.first(features), inplace=True))


class EDSR(SRNetwork):
    """`EDSR(scale=2)` is the paper's baseline, `EDSR(scale=2, blocks=32, width=256, strength=0.1)` its large net.

    Args:
        scale: a power of two, or 3.
        blocks: residual blocks.
        width: channels of the features.
        strength: the paper's residual scaling.
        inner: the blocks' inner widths of a pruned net; None is the dense one.
        peak: value of white: 1 here, 255 in the paper; it moves the mean shift and nothing else.
    """

    def __init__(
        self,
        *,
        scale: int,
        blocks: int = 16,
        width: int = 64,
        strength: float = 1.0,
        inner: list[int] | None = None,
        peak: float = 1.0,
    ) -> None:
        super().__init__()
        widths = [width] * blocks if inner is None else list(inner)
        if len(widths) != blocks:
            raise ValueError(f"inner must list {blocks} widths for {blocks=}, got {len(widths)}")
        self.scale, self.steps = scale, steps_of(scale)
        self.subtract, self.add = MeanShift(peak, -1), MeanShift(peak, +1)
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleList([ResidualBlock(width, channels, strength) for channels in widths])
        self.fuse = nn.Conv2d(width, width, 3, padding=1)
        self.ups = nn.ModuleList([nn.Conv2d(width, step**2 * width, 3, padding=1) for step in self.steps])
        self.tail = nn.Conv2d(width, 3, 3, padding=1)

    def prepare(self, low: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """The image without its mean."""
        return self.subtract(low)

    def trunk(self, prepared: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """The enlarged features that the tail paints, alone in a list."""
        start = features = self.head(prepared)
        for block in self.blocks:
            features = block(features)
        features = start + self.fuse(features)
        for up, step in zip(self.ups, self.steps, strict=True):
            features = functional.pixel_shuffle(up(features), step)
        return [features]

    def paint(self, features: Tensor, index: int = 0) -> Float[Tensor, "b 3 H W"]:
        """The restored image from the features; there is one only."""
        assert index == 0
        return self.add.after(self.tail, features)

    def units(self) -> list[Unit]:
        """The inner width of each block; the features along the skips belong to no unit."""
        return [Unit(f"blocks.{i}", f"blocks.{i}.first", f"blocks.{i}.second") for i in range(len(self.blocks))]


def start_at_bicubic(net: EDSR) -> None:
    """Let an untrained net give nearly the bicubic image: three channels carry the colours, the rest stay random.

    The parabola that a 3x3 convolution can draw stands for the cubic, and the blocks add little. Every weight stays
    free to move. In place; needs width >= 3.
    """
    carry_colours(net.head)
    with torch.no_grad():
        net.fuse.weight[:3].mul_(FAINT)
        assert net.fuse.bias is not None
        net.fuse.bias[:3].mul_(FAINT)
    for up, step in zip(net.ups, net.steps, strict=True):
        assert isinstance(up, nn.Conv2d)
        carry_colours(up, step)
    carry_colours(net.tail)


PUBLISHED = PublishedLayout(  # sanghyun-son/EDSR-PyTorch; pixel shuffles take the odd places of its upsampler
    rules=[
        (r"sub_mean\.", r"subtract."),
        (r"add_mean\.", r"add."),
        (r"head\.0\.", r"head."),
        (r"body\.(\d+)\.body\.0\.", r"blocks.\1.first."),
        (r"body\.(\d+)\.body\.2\.", r"blocks.\1.second."),
        (r"body\.{blocks}\.", r"fuse."),
        (r"tail\.0\.0\.", r"ups.0."),
        (r"tail\.0\.2\.", r"ups.1."),
        (r"tail\.0\.4\.", r"ups.2."),
        (r"tail\.1\.", r"tail."),
    ],
    places=lambda keywords: {"{blocks}": str(keywords["blocks"])},
    rescale=lambda net: rescale_to_one(net.head, [net.tail], [net.subtract, net.add]),
)

"""A network that estimates blur and noise within itself and conditions on them, all at the input's size.

Residual blocks whose features are scaled and shifted channel by channel as a short code of the degradation says (the
modulation of SFTMD, Gu et al., CVPR 2019, and of DASR, Wang et al., CVPR 2021), painted by one convolution and a pixel
shuffle. The code comes from the image itself (predictor.py), and the kernel and the noise that it stands for are
outputs that training compares with the truth (as in IKC and DCLS). Everything is a plain operator.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from srfoundry.core.checkpointing import CheckpointedBlock
from srfoundry.imaging.scales import steps_of
from srfoundry.networks.sr.bicubic_start import FAINT, carry_colours
from srfoundry.networks.sr.fixed_layers import MeanShift
from srfoundry.networks.sr.network import DegradationEstimate, EstimatingNetwork
from srfoundry.networks.sr.predictor import CODE, Predictor, start_at_gaussian, taps_for
from srfoundry.networks.sr.prunable import Unit


class ConditionedBlock(CheckpointedBlock):
    """x + conv(ReLU(conv(a x + b))) with a and b of the degradation's code, a value a channel."""

    def __init__(self, width: int, inner: int, code: int) -> None:
        super().__init__()
        self.factor, self.shift = nn.Conv2d(code, width, 1), nn.Conv2d(code, width, 1)
        self.first = nn.Conv2d(width, inner, 3, padding=1)
        self.second = nn.Conv2d(inner, width, 3, padding=1)

    def forward(self, features: Tensor, code: Float[Tensor, "b c 1 1"]) -> Tensor:
        modulated = features * self.factor(code) + self.shift(code)
        return features + self.second(functional.relu(self.first(modulated), inplace=True))


class Conditioned(EstimatingNetwork):
    """`Conditioned(scale=2, blocks=8, width=16)` has the multiply-adds of `DRN(scale=2, blocks=6, width=16)`.

    Args:
        scale: a power of two, or 3.
        blocks: residual blocks, all at the input's size.
        width: as a DRN's: the blocks work on `width` 2^P channels, P the factors of two of the scale (2 at x3).
        taps: a side of the estimated kernel, odd; None takes those of FKP's widest Gaussian.
        inner: the blocks' inner widths of a pruned net; None is the dense one.
        peak: value of white; it moves the mean shift and nothing else.
    """

    def __init__(
        self,
        *,
        scale: int,
        blocks: int = 8,
        width: int = 16,
        taps: int | None = None,
        inner: list[int] | None = None,
        peak: float = 1.0,
    ) -> None:
        super().__init__()
        channels = width * 2 ** len(steps_of(scale))
        widths = [channels] * blocks if inner is None else list(inner)
        if len(widths) != blocks:
            raise ValueError(f"inner must list {blocks} widths for {blocks=}, got {len(widths)}")
        self.scale = scale
        self.subtract, self.add = MeanShift(peak, -1), MeanShift(peak, +1)
        self.predictor = Predictor(taps=taps or taps_for(scale))
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.ModuleList([ConditionedBlock(channels, each, CODE) for each in widths])
        self.tail = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)

    def prepare(self, low: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """The image without its mean."""
        return self.subtract(low)

    def estimate(self, prepared: Float[Tensor, "b 3 h w"]) -> DegradationEstimate:
        """Blur and noise of an image without its mean."""
        found = self.predictor(prepared)
        assert isinstance(found, DegradationEstimate)
        return found

    def restore(self, prepared: Float[Tensor, "b 3 h w"], estimate: DegradationEstimate) -> list[Tensor]:
        """The features that the tail paints, at the input's size, alone in a list."""
        features = self.head(prepared)
        for block in self.blocks:
            features = block(features, estimate.code)
        return [features]

    def paint(self, features: Tensor, index: int = 0) -> Float[Tensor, "b 3 H W"]:
        """The restored image from the features; there is one only."""
        assert index == 0
        return self.add(functional.pixel_shuffle(self.tail(features), self.scale))

    def units(self) -> list[Unit]:
        """The inner width of each block; the features along the skips belong to no unit."""
        return [Unit(f"blocks.{i}", f"blocks.{i}.first", f"blocks.{i}.second") for i in range(len(self.blocks))]


def start_at_bicubic(net: Conditioned) -> None:
    """Let an untrained net give nearly the bicubic image, whatever it believes of the blur.

    Three channels carry the colours, to which the blocks add little, and the modulation begins near no modulation.
    Every weight stays free to move. In place; needs three channels or more.
    """
    start_at_gaussian(net.predictor, net.scale)
    carry_colours(net.head)
    carry_colours(net.tail, net.scale)
    with torch.no_grad():
        for block in net.blocks:
            assert isinstance(block, ConditionedBlock)
            for conv, start in ((block.factor, 1.0), (block.shift, 0.0)):
                assert conv.bias is not None
                conv.weight.mul_(FAINT)
                conv.bias.fill_(start)
            assert block.second.bias is not None
            block.second.weight[:3].mul_(FAINT)
            block.second.bias[:3].mul_(FAINT)

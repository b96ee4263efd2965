"""Dual Regression Network (Guo et al., CVPR 2020): the primal net P, low -> high; its dual nets are in duals.py.

It follows the paper: enlarge by bicubic interpolation, go down to the input's size, come up again through
residual channel-attention blocks, and give one image a scale on the way. Two things are written differently, with the
same values: the enlargement is a fixed depthwise convolution and a pixel shuffle (so that it exports to any runtime),
and the mean shift after a tail is folded into the tail's weights. Inner widths are free: a pruned net is a DRN too.
The paper's scales are powers of two, a phase for each factor of two; x3, which it has not, is one phase of three.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from srfoundry.core.checkpointing import CheckpointedBlock
from srfoundry.imaging.scales import steps_of
from srfoundry.networks.sr.fixed_layers import Enlarge, MeanShift, rescale_to_one
from srfoundry.networks.sr.gate import gated
from srfoundry.networks.sr.network import SRNetwork
from srfoundry.networks.sr.prunable import Unit
from srfoundry.networks.zoo.published_layout import PublishedLayout


def inner_widths(scale: int, blocks: int, width: int) -> list[int]:
    """The unpruned inner widths in the paper's order: the downs, then for each up phase its blocks and its shuffle."""
    phases = len(steps_of(scale))
    downs = [width * 2**phase for phase in range(phases)]
    ups = [up_width(width, phases, phase) for phase in range(phases) for _ in range(blocks + 1)]
    return downs + ups


def up_width(width: int, phases: int, phase: int) -> int:
    """Channels that enter up phase `phase`: f 2^P, then f 2^(P-i+1), the first half of which is the copied features."""
    return width * 2 ** (phases if phase == 0 else phases - phase + 1)


def reducing(channels: int, out: int, step: int) -> nn.Conv2d:
    """The strided 3x3 convolution that divides the size by 2, or by 3: then its windows are just the blocks."""
    return nn.Conv2d(channels, out, 3, stride=step, padding=1 if step == 2 else 0, bias=False)


class Down(nn.Module):
    """Divide the size by `step`, double the channels: strided conv, LeakyReLU 0.2, conv, no biases."""

    def __init__(self, width: int, inner: int, step: int) -> None:
        super().__init__()
        self.reduce = reducing(width, inner, step)
        self.expand = nn.Conv2d(inner, 2 * width, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return self.expand(functional.leaky_relu(self.reduce(features), 0.2, inplace=True))


class RCAB(CheckpointedBlock):
    """Residual channel-attention block (RCAN): conv, ReLU, conv, one weight a channel, add; no normalisation."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        squeezed = max(1, width // 16)
        self.first = nn.Conv2d(width, inner, 3, padding=1)
        self.second = nn.Conv2d(inner, width, 3, padding=1)
        self.squeeze = nn.Conv2d(width, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        body = self.second(functional.relu(self.first(features), inplace=True))
        if body.dtype == torch.bfloat16 and torch.is_grad_enabled():  # training; exported graphs keep plain operations
            return gated(features, body, self.squeeze, self.excite)
        pooled = body.mean(dim=(2, 3), keepdim=True)
        gate = torch.sigmoid(self.excite(functional.relu(self.squeeze(pooled))))
        return features + body * gate


class Up(nn.Module):
    """One up phase: the blocks, conv, pixel shuffle by `step`, and a 1x1 conv to the width of the copied features."""

    def __init__(self, width: int, out: int, inner: list[int], step: int) -> None:
        super().__init__()
        self.step = step
        self.blocks = nn.ModuleList([RCAB(width, channels) for channels in inner[:-1]])
        self.spread = nn.Conv2d(width, step**2 * inner[-1], 3, padding=1)
        self.merge = nn.Conv2d(inner[-1], out, 1)

    def forward(self, features: Tensor) -> Tensor:
        for block in self.blocks:
            features = block(features)
        return self.merge(functional.pixel_shuffle(self.spread(features), self.step))


class DRN(SRNetwork):
    """The primal network. `DRN(scale=4, blocks=30, width=16)` is DRN-S, `DRN(scale=4, blocks=40, width=20)` DRN-L.

    Args:
        scale: a power of two, or 3.
        blocks: residual blocks a phase.
        width: channels at full size, f in the paper.
        inner: inner widths of a pruned net in the order of `inner_widths`; None is the dense net.
        peak: value of white: 1 here, 255 in the paper; it moves the mean shift and nothing else.
    """

    def __init__(
        self, *, scale: int, blocks: int, width: int, inner: list[int] | None = None, peak: float = 1.0
    ) -> None:
        super().__init__()
        steps = steps_of(scale)
        phases = len(steps)
        widths = inner_widths(scale, blocks, width) if inner is None else list(inner)
        if len(widths) != phases * (blocks + 2):
            wanted = phases * (blocks + 2)
            raise ValueError(f"inner must list {wanted} widths for {scale=} {blocks=}, got {len(widths)}")
        self.scale, self.phases = scale, phases
        self.enlarge = Enlarge(scale)
        self.subtract, self.add = MeanShift(peak, -1), MeanShift(peak, +1)
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.downs = nn.ModuleList(
            [Down(width * 2**phase, widths[phase], step) for phase, step in enumerate(reversed(steps))]
        )
        ups = [widths[phases + phase * (blocks + 1) : phases + (phase + 1) * (blocks + 1)] for phase in range(phases)]
        self.ups = nn.ModuleList(
            [
                Up(up_width(width, phases, phase), width * 2 ** (phases - 1 - phase), ups[phase], step)
                for phase, step in enumerate(steps)
            ]
        )
        tails = [width * 2**phases] + [width * 2 ** (phases - phase) for phase in range(phases)]
        self.tails = nn.ModuleList([nn.Conv2d(channels, 3, 3, padding=1) for channels in tails])

    def prepare(self, low: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 H W"]:
        """The trunk's input: mean removed, then enlarged (the two commute; the small image is the cheaper one)."""
        return self.enlarge(self.subtract(low))

    def trunk(self, prepared: Float[Tensor, "b 3 H W"]) -> list[Tensor]:
        """Features before each tail, smallest first: index k has the size of the k-th image."""
        features = self.head(prepared)
        copies = []
        for down in self.downs:
            copies.append(features)
            features = down(features)
        found = [features]
        for up, copy in zip(self.ups, reversed(copies), strict=True):
            features = torch.cat([up(features), copy], dim=1)
            found.append(features)
        return found

    def paint(self, features: Tensor, index: int) -> Float[Tensor, "b 3 h w"]:
        """Image `index` from its features: the tail and the mean shift."""
        tail = self.tails[index]
        assert isinstance(tail, nn.Conv2d)
        return self.add.after(tail, features)

    def units(self) -> list[Unit]:
        """The prunable inner widths in the paper's order (DRC): downs, then each up phase."""
        found = [Unit(f"downs.{i}", f"downs.{i}.reduce", f"downs.{i}.expand") for i in range(self.phases)]
        for i, up in enumerate(self.ups):
            assert isinstance(up, Up)
            for j in range(len(up.blocks)):
                stem = f"ups.{i}.blocks.{j}"
                found.append(Unit(stem, f"{stem}.first", f"{stem}.second"))
            found.append(Unit(f"ups.{i}.spread", f"ups.{i}.spread", f"ups.{i}.merge", fold=up.step**2))
        return found


def start_at_bicubic(net: DRN) -> None:
    """Set the linear path head -> copy -> last tail to the identity, so that an untrained net gives the bicubic image.

    The paper's net has this path (its copied features skip the trunk without a non-linearity) but starts it at random;
    three of the `width` channels carry the colours here, the rest keep their random start, and the last tail sees
    them at a tenth of theirs. Every weight stays free to move. In place; needs width >= 3.
    """
    with torch.no_grad():
        head, tail = net.head, net.tails[-1]
        assert isinstance(tail, nn.Conv2d)
        copied = tail.in_channels - net.head.out_channels
        head.weight[:3].zero_()
        tail.weight.mul_(0.1)
        for bias in (head.bias, tail.bias):
            assert bias is not None
            bias[:3].zero_()
        for colour in range(3):
            head.weight[colour, colour, 1, 1] = 1.0
            tail.weight[colour, copied : copied + 3].zero_()
            tail.weight[colour, copied + colour, 1, 1] = 1.0


PUBLISHED = PublishedLayout(  # guoyongcs/DRN and DRC
    rules=[
        (r"sub_mean\.", r"subtract."),
        (r"add_mean\.", r"add."),
        (r"head\.", r"head."),
        (r"down\.(\d+)\.dual_module\.0\.0\.", r"downs.\1.reduce."),
        (r"down\.(\d+)\.dual_module\.1\.", r"downs.\1.expand."),
        (r"up_blocks\.(\d+)\.(\d+)\.body\.0\.", r"ups.\1.blocks.\2.first."),
        (r"up_blocks\.(\d+)\.(\d+)\.body\.2\.", r"ups.\1.blocks.\2.second."),
        (r"up_blocks\.(\d+)\.(\d+)\.body\.3\.conv_du\.0\.", r"ups.\1.blocks.\2.squeeze."),
        (r"up_blocks\.(\d+)\.(\d+)\.body\.3\.conv_du\.2\.", r"ups.\1.blocks.\2.excite."),
        (r"up_blocks\.(\d+)\.{blocks}\.0\.", r"ups.\1.spread."),
        (r"up_blocks\.(\d+)\.{merge}\.", r"ups.\1.merge."),
        (r"tail\.(\d+)\.", r"tails.\1."),
    ],
    places=lambda keywords: {"{blocks}": str(keywords["blocks"]), "{merge}": str(keywords["blocks"] + 1)},
    rescale=lambda net: rescale_to_one(net.head, net.tails, [net.subtract, net.add]),
)

"""SwinIR (Liang et al., ICCVW 2021): convolutions around groups of transformer blocks (window_attention)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from srfoundry.imaging.scales import steps_of
from srfoundry.networks.sr.bicubic_start import FAINT, carry_colours
from srfoundry.networks.sr.fixed_layers import MEAN
from srfoundry.networks.sr.network import SRNetwork
from srfoundry.networks.sr.prunable import Unit
from srfoundry.networks.sr.window_attention import Block, Group, mirrored, positions, shift_mask
from srfoundry.networks.zoo.published_layout import PublishedLayout

CLASSICAL = 64  # channels of the classical net's upsampler
TRAINED = 64  # pixels a side of what the authors train on; their masks have this size


class SwinIR(SRNetwork):
    """`SwinIR(scale=4)` is SwinIR-light; `SwinIR(scale=4, depths=[6] * 6, width=180, direct=False)` the classical net.

    Args:
        scale: a power of two, or 3.
        depths: blocks in each group.
        width: channels of the features, a multiple of `heads`.
        heads: of each attention.
        window: pixels a side in which attention looks.
        mlp: the MLP's width over the features'.
        direct: paint by one convolution and a pixel shuffle; else there is an upsampler as EDSR's.
        inner: inner widths of a pruned net, for each block the channels of an attention head and of the MLP; None is
            the dense net.
    """

    def __init__(
        self,
        *,
        scale: int,
        depths: Sequence[int] = (6, 6, 6, 6),
        width: int = 60,
        heads: int = 6,
        window: int = 8,
        mlp: float = 2,
        direct: bool = True,
        inner: list[int] | None = None,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width must be a multiple of heads, got {width=} {heads=}; change one")
        widths = [width // heads, int(width * mlp)] * sum(depths) if inner is None else list(inner)
        if len(widths) != 2 * sum(depths):
            raise ValueError(f"inner must list {2 * sum(depths)} widths for depths={list(depths)}, got {len(widths)}")
        self.scale, self.steps, self.direct = scale, steps_of(scale), direct
        self.window = self.multiple_of = window
        mean = torch.tensor(MEAN, dtype=torch.float64)  # float64, so that a net in double is exact
        self.register_buffer("mean", mean.reshape(3, 1, 1), persistent=False)
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.enter = nn.LayerNorm(width)
        pairs = iter(zip(widths[::2], widths[1::2], strict=True))
        self.groups = nn.ModuleList(
            [
                Group([Block(width, heads, window, i % 2 * (window // 2), next(pairs)) for i in range(depth)], width)
                for depth in depths
            ]
        )
        self.leave = nn.LayerNorm(width)
        self.fuse = nn.Conv2d(width, width, 3, padding=1)
        if direct:
            self.tail = nn.Conv2d(width, 3 * scale**2, 3, padding=1)
        else:
            self.before = nn.Conv2d(width, CLASSICAL, 3, padding=1)
            ups = [nn.Conv2d(CLASSICAL, step**2 * CLASSICAL, 3, padding=1) for step in self.steps]
            self.ups = nn.ModuleList(ups)
            self.tail = nn.Conv2d(CLASSICAL, 3, 3, padding=1)

    def prepare(self, low: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """The image without its mean."""
        return low - self.get_buffer("mean").to(low.dtype)

    def trunk(self, prepared: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """The features that the tail paints, alone in a list.

        An image that is no multiple of the window is continued by its mirror image; the features are cropped again.
        """
        height, width = prepared.shape[-2:]
        start = self.head(mirrored(prepared, self.window))
        mask = shift_mask(start, self.window)
        features = self.enter(start.permute(0, 2, 3, 1))
        for group in self.groups:
            features = group(features, mask)
        features = start + self.fuse(self.leave(features).permute(0, 3, 1, 2))
        features = features[..., :height, :width]
        if not self.direct:
            features = functional.leaky_relu(self.before(features), 0.01, inplace=True)
            for up, step in zip(self.ups, self.steps, strict=True):
                features = functional.pixel_shuffle(up(features), step)
        return [features]

    def paint(self, features: Tensor, index: int = 0) -> Float[Tensor, "b 3 H W"]:
        """The restored image from the features; there is one only. The mean is added in float32 or wider."""
        assert index == 0
        image = self.tail(features)
        if self.direct:
            image = functional.pixel_shuffle(image, self.scale)
        return image + self.get_buffer("mean").to(torch.promote_types(image.dtype, torch.float32))

    def units(self) -> list[Unit]:
        """Of each block the channels of an attention head, the heads tied, and the MLP's inner width."""
        found = []
        for i, group in enumerate(self.groups):
            assert isinstance(group, Group)
            for j, block in enumerate(group.blocks):
                assert isinstance(block, Block)
                stem, heads = f"groups.{i}.blocks.{j}", block.attn.heads
                ends = (f"{stem}.attn.qkv", f"{stem}.attn.proj")
                gates = (f"{stem}.attn.query",)
                found.append(Unit(f"{stem}.attn", *ends, copies=3 * heads, spans=heads, gates=gates))
                found.append(Unit(f"{stem}.mlp", f"{stem}.mlp.fc1", f"{stem}.mlp.fc2"))
        return found


def start_at_bicubic(net: SwinIR) -> None:
    """Let an untrained net give nearly the bicubic image: three channels carry the colours, the rest stay random.

    The parabola that a 3x3 convolution can draw stands for the cubic, and the transformer adds little to it: the last
    map of each half block starts at a tenth. Every weight stays free to move. In place; needs a direct net.
    """
    if not net.direct:
        raise ValueError("only a net with direct=True can start at bicubic, got direct=False; the other has a ReLU")
    carry_colours(net.head)
    with torch.no_grad():
        net.fuse.weight[:3].mul_(FAINT)
        assert net.fuse.bias is not None
        net.fuse.bias[:3].mul_(FAINT)
        for module in net.modules():
            if isinstance(module, Block):
                module.attn.proj.weight.mul_(0.1)
                module.mlp.fc2.weight.mul_(0.1)
    carry_colours(net.tail, net.scale)


def _derive(net: SwinIR) -> dict[str, Tensor]:
    """What the authors' file holds besides weights: each block's positions, each shifted one's mask at their size."""
    size = TRAINED // net.window * net.window
    rows = positions(net.window)
    mask = shift_mask(torch.empty(1, 1, size, size), net.window)
    found: dict[str, Tensor] = {}
    for i, group in enumerate(net.groups):
        assert isinstance(group, Group)
        for j, block in enumerate(group.blocks):
            stem = f"layers.{i}.residual_group.blocks.{j}"
            found[f"{stem}.attn.relative_position_index"] = rows.clone()
            if block.shift:
                found[f"{stem}.attn_mask"] = mask.clone()
    return found


_BLOCK = r"layers\.(\d+)\.residual_group\.blocks\.(\d+)\."
PUBLISHED = PublishedLayout(  # JingyunLiang/SwinIR, trained on images in [0, 1]
    rules=[
        (r"conv_first\.", r"head."),
        (r"patch_embed\.norm\.", r"enter."),
        (_BLOCK + r"attn\.relative_position_bias_table$", r"groups.\1.blocks.\2.attn.table"),
        (_BLOCK + r"(attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2|norm1|norm2)\.", r"groups.\1.blocks.\2.\3."),
        (r"layers\.(\d+)\.conv\.", r"groups.\1.fuse."),
        (r"norm\.", r"leave."),
        (r"conv_after_body\.", r"fuse."),
        (r"conv_before_upsample\.0\.", r"before."),
        (r"upsample\.0\.", r"{upsample}."),
        (r"upsample\.2\.", r"ups.1."),
        (r"upsample\.4\.", r"ups.2."),
        (r"conv_last\.", r"tail."),
    ],
    places=lambda keywords: {"{upsample}": "tail" if keywords.get("direct", True) else "ups.0"},
    derived=_BLOCK + r"(attn\.relative_position_index|attn_mask)$",
    derive=_derive,
)

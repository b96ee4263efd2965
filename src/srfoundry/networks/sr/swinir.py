"""SwinIR (Liang et al., ICCVW 2021): self-attention within windows that shift by half from block to block.

Features lie as (b, h, w, c), which is how a channels-last convolution leaves them, so that attention, MLP and norms
need no transposition. The windows are cut once for query, key and value together. Attention is written out: at
this net's ten channels a head PyTorch's fused kernel saves a twentieth of a CPU's time forwards and costs an eighth
more with gradients (the position table wants one), and search differentiates twice.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from srfoundry.imaging.mirror import mirror_indices
from srfoundry.imaging.scales import steps_of
from srfoundry.networks.sr.bicubic_start import FAINT, carry_colours
from srfoundry.networks.sr.fixed_layers import MEAN
from srfoundry.networks.sr.prunable import Unit

CLASSICAL = 64  # channels of the classical net's upsampler


def positions(window: int) -> Tensor:
    """For each (query, key) of a window the row of the position table: their offset, down and across."""
    at = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
    offset = at[:, :, None] - at[:, None, :] + window - 1
    return offset[0] * (2 * window - 1) + offset[1]


def strangers(image: Float[Tensor, "b c h w"], window: int) -> Float[Tensor, "windows n n"]:
    """-100 for each pair of a window, shifted by half, that the roll brought together from opposite borders, else 0."""
    height, width = image.shape[-2:]
    bands = []
    for size in (height, width):  # 0 away from the far border, 1 and 2 on the two sides of the cut
        at = torch.arange(size, device=image.device)
        bands.append((at >= size - window).long() + (at >= size - window // 2).long())
    region = 3 * bands[0][:, None] + bands[1][None, :]
    cut = region.reshape(height // window, window, width // window, window).permute(0, 2, 1, 3)
    cut = cut.reshape(-1, window**2)
    return (cut[:, :, None] != cut[:, None, :]).float() * -100.0


def mirrored(image: Float[Tensor, "b c h w"], multiple: int) -> Float[Tensor, "b c H W"]:
    """The image continued below and to the right by its mirror image up to a multiple of `multiple`; any size."""
    for axis in (2, 3):
        size = image.shape[axis]
        if -size % multiple:
            places = torch.arange(size + -size % multiple, device=image.device)
            image = image.index_select(axis, mirror_indices(places, size))
    return image


class Attention(nn.Module):
    """Multi-head self-attention within windows: softmax(q k / sqrt(d) + position + mask) v, and a last linear map.

    `inner` is d, channels a head. The root is the dense net's d, so that a pruned net is the masked one.
    """

    def __init__(self, width: int, heads: int, window: int, inner: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.factor = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * heads * inner)  # rows lie as (3, heads, d)
        self.query = nn.Identity()  # the queries pass here (b, heads, n, d): whoever masks channels masks them too
        self.proj = nn.Linear(heads * inner, width)
        self.table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.register_buffer("rows", positions(window).flatten(), persistent=False)

    def forward(self, features: Float[Tensor, "b h w c"], mask: Float[Tensor, "windows n n"] | None) -> Tensor:
        batch, height, width, _ = features.shape
        down, across, side = height // self.window, width // self.window, self.window
        qkv = self.qkv(features)
        inner = qkv.shape[-1] // (3 * self.heads)
        cut = qkv.reshape(batch, down, side, across, side, 3, self.heads, inner).permute(5, 0, 1, 3, 6, 2, 4, 7)
        query, key, value = cut.reshape(3, batch * down * across, self.heads, side**2, inner).unbind()
        nearness = self.query(query * self.factor) @ key.transpose(-2, -1)
        position = self.table[self.get_buffer("rows")].reshape(side**2, side**2, self.heads).permute(2, 0, 1)
        nearness = nearness + position
        if mask is not None:
            shape = nearness.shape
            nearness = (nearness.reshape(batch, down * across, *shape[1:]) + mask[:, None]).reshape(shape)
        found = nearness.softmax(dim=-1) @ value
        found = found.reshape(batch, down, across, self.heads, side, side, inner).permute(0, 1, 4, 2, 5, 3, 6)
        return self.proj(found.reshape(batch, height, width, self.heads * inner))


class Mlp(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, features: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(features)))


class Block(nn.Module):
    """x + attention(norm x), then x + MLP(norm x); the windows lie `shift` pixels further down and right."""

    def __init__(self, width: int, heads: int, window: int, shift: int, inner: Sequence[int]) -> None:
        super().__init__()
        self.shift = shift
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads, window, inner[0])
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, inner[1])

    def forward(self, features: Float[Tensor, "b h w c"], mask: Float[Tensor, "windows n n"]) -> Tensor:
        seen = self.norm1(features)
        if self.shift:
            seen = torch.roll(seen, (-self.shift, -self.shift), dims=(1, 2))
        found = self.attn(seen, mask if self.shift else None)
        if self.shift:
            found = torch.roll(found, (self.shift, self.shift), dims=(1, 2))
        features = features + found
        return features + self.mlp(self.norm2(features))


class Group(nn.Module):
    """Some blocks and a convolution, with a skip around them (the paper's RSTB)."""

    def __init__(self, blocks: list[Block], width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.fuse = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: Float[Tensor, "b h w c"], mask: Float[Tensor, "windows n n"]) -> Tensor:
        found = features
        for block in self.blocks:
            found = block(found, mask)
        return features + self.fuse(found.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class SwinIR(nn.Module):
    """`SwinIR(scale=4)` is SwinIR-light; `SwinIR(scale=4, depths=[6] * 6, width=180, direct=False)` the classical net.

    `inner` lists the inner widths of a pruned net, for each block the channels of an attention head and of the MLP;
    None is the dense net. `direct` paints by one convolution and a pixel shuffle, else there is an upsampler as
    EDSR's. `mlp` is the MLP's width over the features'. `peak` is the value of white.
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
        peak: float = 1.0,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width must be a multiple of heads, got {width=} {heads=}; change one")
        widths = [width // heads, int(width * mlp)] * sum(depths) if inner is None else list(inner)
        if len(widths) != 2 * sum(depths):
            raise ValueError(f"inner must list {2 * sum(depths)} widths for depths={list(depths)}, got {len(widths)}")
        self.scale, self.steps, self.direct = scale, steps_of(scale), direct
        self.window = self.multiple_of = window
        mean = peak * torch.tensor(MEAN, dtype=torch.float64)  # float64, so that a net in double is exact
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
        mask = strangers(start, self.window)
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

    def images(self, low: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """The restored image, alone in a list."""
        return [self(low)]

    def forward(self, low: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 H W"]:
        """The restored image, `scale` times the input's size, range as the input's, unclipped."""
        return self.paint(self.trunk(self.prepare(low))[0])

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

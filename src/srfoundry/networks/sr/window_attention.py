"""Self-attention within windows that shift by half from block to block: the transformer blocks of SwinIR.

Features lie as (b, h, w, c), which is how a channels-last convolution leaves them, so that attention, MLP and norms
need no transposition. The windows are cut once for query, key and value together. Attention is written out: at
SwinIR's ten channels a head PyTorch's fused kernel saves a twentieth of a CPU's time forwards and costs an eighth
more with gradients (the position table wants one), and search differentiates twice.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from srfoundry.core.checkpointing import CheckpointedBlock
from srfoundry.imaging.mirror import mirror_indices


def positions(window: int) -> Tensor:
    """For each (query, key) of a window the row of the position table: their offset, down and across."""
    at = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
    offset = at[:, :, None] - at[:, None, :] + window - 1
    return offset[0] * (2 * window - 1) + offset[1]


def shift_mask(image: Float[Tensor, "b c h w"], window: int) -> Float[Tensor, "windows n n"]:
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


class Block(CheckpointedBlock):
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

"""A restoring net of one attention block and one perceptron, with every kind of unit that a network may list."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from srfoundry.core.seeds import generator, redraw
from srfoundry.networks.sr.network import SRNetwork
from srfoundry.networks.sr.prunable import Unit


class Attentive(SRNetwork):
    """Conv, self-attention over all pixels, perceptron, conv, pixel shuffle, conv; x2."""

    scale = 2

    def __init__(self, dim: int = 8, heads: int = 2, depth: int = 4, hidden: int = 12) -> None:
        super().__init__()
        self.heads, self.slope = heads, depth**-0.5
        self.head = nn.Conv2d(3, dim, 3, padding=1)
        self.qkv = nn.Linear(dim, 3 * heads * depth)
        self.query = nn.Identity()
        self.proj = nn.Linear(heads * depth, dim)
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim, bias=False)
        self.spread = nn.Conv2d(dim, 4 * dim, 3, padding=1)
        self.tail = nn.Conv2d(dim, 3, 3, padding=1)

    def prepare(self, low: Tensor) -> Tensor:
        """Nothing to prepare."""
        return low

    def trunk(self, prepared: Tensor) -> list[Tensor]:
        """Features before the tail."""
        features = self.head(prepared)
        height, width = features.shape[-2:]
        tokens = features.flatten(2).transpose(1, 2)
        qkv = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query = self.query(qkv[0] * self.slope)
        mixed = functional.scaled_dot_product_attention(query, qkv[1], qkv[2], scale=1.0)
        tokens = tokens + self.proj(mixed.transpose(1, 2).flatten(2))
        tokens = tokens + self.fc2(functional.gelu(self.fc1(tokens)))
        features = features + tokens.transpose(1, 2).unflatten(-1, (height, width))
        return [functional.pixel_shuffle(self.spread(features), 2)]

    def paint(self, features: Tensor, index: int) -> Tensor:
        """The restored image: what the tail paints onto the enlarged one is not needed here."""
        return self.tail(features)

    def units(self) -> list[Unit]:
        """An attention's head width, a perceptron's width, and the channels before a tail."""
        attention = Unit("attn", "qkv", "proj", copies=3 * self.heads, spans=self.heads, gates=("query",))
        return [attention, Unit("mlp", "fc1", "fc2"), Unit("spread", "spread", "tail", fold=4)]


def attentive(seed: int = 1) -> Attentive:
    """With weights of a size at which the attention is far from uniform."""
    net = Attentive()
    redraw(net, generator(seed, "attentive"))
    with torch.no_grad():
        for name in ("qkv", "proj", "fc1", "fc2"):
            weight = net.get_parameter(f"{name}.weight")
            weight.copy_(0.6 * torch.randn(weight.shape, generator=generator(seed, name)))
    return net

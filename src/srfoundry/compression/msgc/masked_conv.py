"""Middle-spectrum grouped convolution (MSGC, Yang et al., arXiv 2304.06305): filter groups that choose what they read.

A convolution's filters are cut into G contiguous groups, and each has a binary mask over all input channels:

    y_g = W_g * (m_g . a_g . x),   m_g in {0, 1}^C,   a_g in R^C or 1

One group is channel pruning, G disjoint masks are a grouped convolution; all between is allowed. The weights keep the
dense layer's shape, so that a trained net goes on from what it has. Masks are static (learned logits; the default) or
sample-wise (a small net looks at the pooled input). While training they are drawn with logistic noise and a
straight-through gradient; else m = [z >= 0]. Unlike the released code, static masks are folded into the weights, the
gates hold no batch normalisation, so that a batch may be one image, and whoever samples sees the masks (`sampling`).
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from srfoundry.compression.msgc.layer_pairs import LayerPair, conv_of
from srfoundry.core.errors import FoundryError

Net = TypeVar("Net", bound=nn.Module)
START = 2.0  # first logit: a channel is kept with probability 0.88
TEMPERATURE = 2 / 3  # of the relaxed masks, as published
SPREAD = 1.5  # how far magnitudes may move a first logit: less than START, so that all channels begin open
TINY = 1e-8


def straight_through(logits: Tensor, *, temperature: float, rng: torch.Generator) -> Tensor:
    """Binary masks, P(m = 1) = sigmoid(z), with the gradient of the relaxed ones (Gumbel-sigmoid).

    s = sigmoid((z + l) / T),   l = ln u - ln(1 - u),   m = [s >= 1/2]
    """
    uniform = torch.rand(logits.shape, generator=rng).to(logits)
    noise = torch.log(uniform + TINY) - torch.log(1 - uniform + TINY)
    soft = torch.sigmoid((logits + noise) / temperature)
    return (soft >= 0.5).to(soft) + (soft - soft.detach())


@dataclass
class Sampling:
    """How masks are drawn at present (without `rng` they are [z >= 0]), and those of the last pass by layer.

    temperature: of the relaxation; it changes no probability. heat: of the choice, P(m = 1) = sigmoid(z / heat); as it
    falls, masks become decisions.
    """

    rng: torch.Generator | None
    temperature: float
    heat: float = 1.0
    masks: dict[str, Tensor] = field(default_factory=dict)


class Pooled:
    """The channel means of a block's input: a hook before the block, read by the gates inside it."""

    def __init__(self) -> None:
        self.mean: Tensor | None = None

    def __call__(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.mean = inputs[0].mean(dim=(2, 3))

    def __deepcopy__(self, memo: dict[int, Any]) -> "Pooled":
        memo[id(self)] = fresh = Pooled()  # a copied net has its own
        return fresh


class Gate(nn.Module):
    """One value for each group and channel from pooled features: linear, norm, ReLU, linear."""

    def __init__(self, channels: int, groups: int, width: int, *, reduction: int) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, hidden, bias=False)
        self.norm = nn.LayerNorm(hidden)
        self.excite = nn.Linear(hidden, groups * width)
        self.shape = (groups, width)

    def forward(self, pooled: Float[Tensor, "b p"]) -> Float[Tensor, "b g c"]:
        return self.excite(functional.relu(self.norm(self.squeeze(pooled)))).unflatten(1, self.shape)

    def start(self, *, bias: float, gain: float, rng: torch.Generator) -> None:
        """Draw the weights; the values begin at `bias`, and differ between images if `gain` is not 0."""
        nn.init.kaiming_normal_(self.squeeze.weight, mode="fan_out", nonlinearity="relu", generator=rng)
        nn.init.kaiming_normal_(self.excite.weight, mode="fan_out", nonlinearity="relu", generator=rng)
        with torch.no_grad():
            self.excite.weight *= gain
            self.excite.bias.fill_(bias)


class MSGConv2d(nn.Module):
    """A convolution with masked inputs; the convolution itself, with its weights, is `conv`.

    Args:
        conv: of one group.
        groups: G; the filters must divide by it.
        sampled: gates that look at each image instead of static logits.
        attention: the factors a_g, which look at each image, too.
        pooled: of the block around the layer; None looks at the layer's own input.
        channels: how many channels gates and attention look at; None is the layer's own number.
        reduction: by which their hidden width is smaller.
        rng: for the first weights of gates and attention.

    Raises:
        ValueError: the convolution has groups already, pads with something else than zeros, or has too few filters.
    """

    def __init__(
        self,
        conv: nn.Conv2d,
        *,
        groups: int,
        sampled: bool = False,
        attention: bool = False,
        pooled: Pooled | None = None,
        channels: int | None = None,
        reduction: int = 4,
        rng: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if conv.groups != 1 or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            raise ValueError(f"masks need a convolution of one group that pads with zeros, got {conv}; wrap another")
        if conv.out_channels % groups:
            raise ValueError(f"filters must divide by the groups, got {conv.out_channels} filters, {groups} groups")
        self.conv, self.groups, self.pooled, self.name = conv, groups, pooled, ""
        self.sampling: Sampling | None = None
        seen = conv.in_channels if channels is None else channels
        make = {"groups": groups, "width": conv.in_channels, "reduction": reduction}
        self.logits = None if sampled else nn.Parameter(first_logits(conv.weight, groups))
        self.gate = Gate(seen, **make) if sampled else None
        self.attention = Gate(seen, **make) if attention else None
        rng = torch.Generator().manual_seed(0) if rng is None else rng
        if self.gate is not None:
            self.gate.start(bias=START, gain=1.0, rng=rng)
        if self.attention is not None:
            self.attention.start(bias=1.0, gain=0.0, rng=rng)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o h2 w2"]:
        pooled = None
        if self.gate is not None or self.attention is not None:
            pooled = features.mean(dim=(2, 3)) if self.pooled is None else self.pooled.mean
        mask = self._mask(pooled)
        if self.attention is None and mask.ndim == 2:
            weight = self.conv.weight.unflatten(0, (self.groups, -1))
            return self._convolve(features, (weight * mask[:, None, :, None, None]).flatten(0, 1), 1)
        if self.attention is not None:
            mask = mask * self.attention(pooled)
        copies = features[:, None] * mask[..., None, None]  # the groups' inputs side by side: weights keep their shape
        return self._convolve(copies.flatten(1, 2), self.conv.weight, self.groups)

    def _mask(self, pooled: Tensor | None) -> Tensor:
        logits = self.logits if self.gate is None else self.gate(pooled)
        assert logits is not None
        how = self.sampling
        if how is None or how.rng is None:
            mask = (logits >= 0).to(logits)
        else:
            mask = straight_through(logits / how.heat, temperature=how.temperature, rng=how.rng)
        if how is not None:
            how.masks[self.name] = mask
        return mask

    def _convolve(self, features: Tensor, weight: Tensor, groups: int) -> Tensor:
        conv = self.conv
        assert not isinstance(conv.padding, str)
        return functional.conv2d(features, weight, conv.bias, conv.stride, conv.padding, conv.dilation, groups)


def first_logits(weight: Float[Tensor, "o c *k"], groups: int) -> Float[Tensor, "g c"]:
    """START, and a little more for channels that a group's weights make much of: their L1 norms, standardised."""
    norms = weight.detach().abs().flatten(2).sum(2).unflatten(0, (groups, -1)).sum(1)
    off = (norms - norms.mean()) / norms.std(correction=0).clamp_min(TINY)
    return START + off.clamp(-SPREAD, SPREAD)


def groups_of(conv: nn.Conv2d, groups: int) -> int:
    """The groups that a convolution can have: the most that divide its filters, up to those wanted."""
    return max(count for count in range(1, groups + 1) if conv.out_channels % count == 0)


def wrap(
    net: Net,
    pairs: Sequence[LayerPair],
    *,
    groups: int = 4,
    sampled: bool = False,
    attention: bool = False,
    reduction: int = 4,
    rng: torch.Generator | None = None,
) -> Net:
    """A copy of the net with masks on every pair: `groups` on its reader, one group on its first maker if narrow.

    It computes what the net computes until masks are drawn or trained. Arguments as in MSGConv2d.
    """
    masked = copy.deepcopy(net)
    for pair in pairs:
        seen, pooled = None, None
        if pair.block and (sampled or attention):
            pooled, seen = Pooled(), conv_of(net, pair.makers[0]).in_channels
            masked.get_submodule(pair.block).register_forward_pre_hook(pooled)
        for name, wanted in [(pair.makers[0], 1)] * pair.narrow + [(pair.reader, groups)]:
            conv = conv_of(masked, name)
            layer = MSGConv2d(
                conv, groups=groups_of(conv, wanted), sampled=sampled, attention=attention, pooled=pooled,
                channels=seen, reduction=reduction, rng=rng,
            )  # fmt: skip
            layer.name = name
            masked.set_submodule(name, layer)
    return masked


def layer_of(net: nn.Module, name: str) -> MSGConv2d:
    """The masked layer of that name; FoundryError if there is none."""
    found = net.get_submodule(name)
    if not isinstance(found, MSGConv2d):
        raise FoundryError(f"{name} must be a masked convolution, got a {type(found).__name__}; wrap the net first")
    return found


def static_logits(net: nn.Module, name: str) -> Float[Tensor, "g c"]:
    """The logits of a layer with static masks and no attention factors; FoundryError for another."""
    layer = layer_of(net, name)
    if layer.logits is None or layer.attention is not None:
        raise FoundryError(
            f"plain operators need static masks without attention, got others at {name}; "
            "export the masked net itself (it saves nothing), or train static masks"
        )
    return layer.logits.detach()


@contextmanager
def sampling(
    net: nn.Module, rng: torch.Generator | None = None, temperature: float = TEMPERATURE, heat: float = 1.0
) -> Iterator[dict[str, Tensor]]:
    """Within, masks are drawn from `rng` in every pass (or not, without one); yields the last pass's, by layer."""
    how = Sampling(rng, temperature, heat)
    layers = [layer for layer in net.modules() if isinstance(layer, MSGConv2d)]
    try:
        for layer in layers:
            layer.sampling = how
        yield how.masks
    finally:
        for layer in layers:
            layer.sampling = None


def keep_probabilities(net: nn.Module, pairs: Sequence[LayerPair], heat: float = 1.0) -> dict[str, Tensor]:
    """sigmoid(z / heat) of every layer with static masks, g x c, with gradient."""
    names = [name for pair in pairs for name in (*pair.makers[: int(pair.narrow)], pair.reader)]
    logits = {name: layer_of(net, name).logits for name in names}
    return {name: torch.sigmoid(z / heat) for name, z in logits.items() if z is not None}

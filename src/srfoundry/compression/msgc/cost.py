"""What a net costs under masks: exact, differentiable, and the same number that the converted net is counted at.

Groups of differing sizes are the exception: what `convert` fills them up with (ragged=True) is not counted here.

A pair (msgc.layer_pairs) whose reader has G groups costs

    (joint * inputs + each) * used + read * sum_g n_g,   used = sum_c (1 - prod_g (1 - m_gc))

`inputs` is what the first maker reads, `used` the union of what the groups read, n_g the size of each group's choice.
With binary masks it is an integer; with probabilities of independent masks it is the expectation, for the factors share
no mask. Filters that no group reads are gone, and their gradient is there, other than in the released code.
"""

import copy
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.compression.msgc.layer_pairs import Choice, LayerPair, conv_of, depthwise
from srfoundry.compression.msgc.masked_conv import groups_of
from srfoundry.networks.sr.multiplications import multiplications


@dataclass(frozen=True)
class Term:
    """One pair: its channel numbers when dense, and what they cost."""

    inputs: int
    width: int
    groups: int
    joint: float  # for each input and used channel of the first maker
    each: float  # for each used channel
    read: float  # for each channel that a group reads

    def at(self, inputs: int, used: int, read: int) -> float:
        """The cost at these numbers; `read` is the sum over the groups."""
        return (self.joint * inputs + self.each) * used + self.read * read

    def of(self, choice: Choice) -> float:
        """The cost of what stays."""
        return self.at(len(choice.inputs), len(choice.used), choice.groups.numel())

    @property
    def dense(self) -> float:
        """The cost without masks."""
        return self.at(self.inputs, self.width, self.groups * self.width)


@dataclass(frozen=True)
class Count:
    """The cost of a whole net; `total` is the dense one's."""

    total: float
    terms: tuple[Term, ...]

    @property
    def fixed(self) -> float:
        """What no mask changes."""
        return self.total - sum(term.dense for term in self.terms)

    def of(self, pairs: Sequence[LayerPair], masks: Mapping[str, Float[Tensor, "*b g c"]]) -> Float[Tensor, "*b"]:
        """The cost under masks or their probabilities, by layer; of each sample where they are sample-wise."""
        cost = torch.tensor(self.fixed, dtype=torch.float64)
        for pair, term in zip(pairs, self.terms, strict=True):
            groups = masks[pair.reader].double()
            used = (1 - (1 - groups).prod(dim=-2)).sum(-1)
            inputs = masks[pair.makers[0]].double().sum((-1, -2)) if pair.narrow else float(term.inputs)
            cost = cost.to(used.device) + (term.joint * inputs + term.each) * used + term.read * groups.sum((-1, -2))
        return cost

    def removed(self, pairs: Sequence[LayerPair], masks: Mapping[str, Float[Tensor, "*b g c"]]) -> Tensor:
        """Fraction of the dense cost that is gone; the mean of the batch."""
        return 1 - self.of(pairs, masks).mean() / self.total

    def removed_by(self, choices: Sequence[Choice]) -> float:
        """Fraction of the dense cost that is gone when these channels stay."""
        left = self.fixed + sum(term.of(choice) for term, choice in zip(self.terms, choices, strict=True))
        return 1 - left / self.total


def count_of(net: nn.Module, pairs: Sequence[LayerPair], *, groups: int, low: Float[Tensor, "b c h w"] | None) -> Count:
    """Count the dense `net`: its parameters, or with an image the `multiplications` of one pass.

    Args:
        groups: of the readers, as in `masked_conv.groups_of`.
    """
    if low is None:
        total, pixels = sum(weight.numel() for weight in net.parameters()), None
    else:
        hollow, image = copy.deepcopy(net).to("meta"), low.to("meta")
        total, pixels = multiplications(hollow, image), _pixels(hollow, pairs, image)

    def cost(name: str) -> tuple[float, float]:
        """What one input channel and one filter cost together, and what a bias does."""
        conv, area = conv_of(net, name), 1 if pixels is None else pixels[name]
        return float(conv.weight[0, 0].numel() * area), 0.0 if conv.bias is None else float(area)

    terms = []
    for pair in pairs:
        first, reader = conv_of(net, pair.makers[0]), conv_of(net, pair.reader)
        count = groups_of(reader, groups)
        joint, bias = cost(pair.makers[0])
        alone = depthwise(first)
        each = pair.fold * (bias + (joint if alone else 0))
        each += sum(sum(cost(name)) for name in pair.makers[1:])
        if low is None:
            each += sum(w[0].numel() for name in pair.norms for w in net.get_submodule(name).parameters())
        read = cost(pair.reader)[0] * reader.out_channels / count
        joint = 0.0 if alone else joint * pair.fold
        terms.append(Term(first.in_channels, reader.in_channels, count, joint, each, read))
    return Count(float(total), tuple(terms))


def _pixels(net: nn.Module, pairs: Sequence[LayerPair], image: Tensor) -> dict[str, int]:
    """Output pixels of every layer of the pairs in one pass, all images of the batch together."""
    found: dict[str, int] = {}

    def note(name: str) -> object:
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            found[name] = output.numel() // output.shape[1]

        return hook

    with ExitStack() as stack, torch.no_grad():
        for name in {name for pair in pairs for name in (*pair.makers, pair.reader)}:
            stack.callback(net.get_submodule(name).register_forward_hook(note(name)).remove)  # pyright: ignore
        net(image)
    return found

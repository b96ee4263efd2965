"""Which convolutions may read less, and which filters then go: pairs of makers and a reader around one inner width.

A pair is what middle-spectrum grouped convolution masks: its reader, cut into filter groups that each choose what they
read, and what makes the reader's input, whose filters go where no group reads them. The first maker may read less, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor, nn

from srfoundry.core.errors import FoundryError
from srfoundry.networks.sr.prunable import Unit


@dataclass(frozen=True)
class LayerPair:
    """Module names around one inner width; nothing else makes or reads these channels.

    reader: a convolution of one group, whose input channels are the inner width.
    makers: the convolutions that make that input, in order. The first may be dense or depthwise, further ones are
        depthwise.
    norms: normalisations between them, one value a channel.
    narrow: whether the first maker's filters, as one group, choose what they read; not for a depthwise one.
    fold: outputs of the maker that make one channel, as in Unit.
    block: the module whose input sample-wise gates look at; "" is each layer's own input.
    """

    name: str
    reader: str
    makers: tuple[str, ...]
    norms: tuple[str, ...] = ()
    narrow: bool = True
    fold: int = 1
    block: str = ""


@dataclass(frozen=True)
class Choice:
    """What stays of a pair: channels that the first maker reads, and those that each group of the reader reads.

    `inputs` ascends (all of them where the maker is not narrow); `groups` is g x k, each row ascending.
    """

    inputs: Int[Tensor, " n"]
    groups: Int[Tensor, "g k"]

    @property
    def used(self) -> list[int]:
        """The channels that any group reads, ascending."""
        return sorted(set(self.groups.flatten().tolist()))


def pairs_of(units: Sequence[Unit]) -> list[LayerPair]:
    """The pairs of a net of plain convolutions that lists its units.

    Raises:
        FoundryError: a unit belongs to an attention, whose channels are tied between heads.
    """
    if tied := [unit.name for unit in units if unit.copies > 1 or unit.spans > 1 or unit.gates]:
        raise FoundryError(
            f"msgc needs networks of convolutions, got attention at {', '.join(tied[:3])}; take compress.method drc"
        )
    return [LayerPair(unit.name, unit.consumer, (unit.producer,), fold=unit.fold) for unit in units]


def conv_of(net: nn.Module, name: str) -> nn.Conv2d:
    """The convolution of that name.

    Raises:
        FoundryError: it is another kind of layer.
    """
    found = net.get_submodule(name)
    if not isinstance(found, nn.Conv2d):
        raise FoundryError(f"msgc needs a convolution at {name}, got {type(found).__name__}; take compress.method drc")
    return found


def depthwise(conv: nn.Conv2d) -> bool:
    """Whether each filter reads the one channel of its own number."""
    return conv.groups == conv.in_channels == conv.out_channels and conv.groups > 1

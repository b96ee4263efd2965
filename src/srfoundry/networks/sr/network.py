"""What a super-resolution network is to training, search, pruning and export: DRN, EDSR, SwinIR."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.networks.sr.prunable import Unit


class SRNetwork(nn.Module, ABC):
    """A network low -> high in parts, so that half precision, multi-scale losses and distillation know where to cut.

    Attributes:
        scale: of the enlargement.
        multiple_of: of the input's sides, for an exported graph; in PyTorch any size will do.
    """

    scale: int
    multiple_of: int = 1

    @abstractmethod
    def prepare(self, low: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 _ _"]:
        """The part that never runs in half precision: the mean's shift, and an enlargement if there is one."""

    @abstractmethod
    def trunk(self, prepared: Float[Tensor, "b 3 _ _"]) -> list[Tensor]:
        """Features before the last convolution of each image, smallest image first; the last are what distils."""

    @abstractmethod
    def paint(self, features: Tensor, index: int) -> Float[Tensor, "b 3 _ _"]:
        """Image `index` of that list."""

    @abstractmethod
    def units(self) -> list[Unit]:
        """The prunable inner widths, in the order in which `inner` lists them to rebuild a pruned net."""

    def images(self, low: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """All images, smallest first; the last is the restored one."""
        return [self.paint(features, index) for index, features in enumerate(self.trunk(self.prepare(low)))]

    def forward(self, low: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 H W"]:
        """The restored image alone, `scale` times the input's size, range as the input's, unclipped."""
        features = self.trunk(self.prepare(low))
        return self.paint(features[-1], len(features) - 1)


def sr_network(net: nn.Module) -> SRNetwork:
    """The net, known to be one.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(net, SRNetwork):
        raise TypeError(f"a super-resolution network must be an SRNetwork, got {type(net).__name__}")
    return net

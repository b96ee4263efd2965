"""What a super-resolution network is to training, search, pruning and export: DRN, EDSR, SwinIR, Conditioned."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

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


@dataclass(frozen=True)
class DegradationEstimate:
    """What a network estimates that its input has gone through, one row an image.

    Args:
        code: what the restoring layers are conditioned on.
        logits: of the kernel's taps, row after row.
        noise: root mean square of noise and compression together, image range [0, 1].
    """

    code: Float[Tensor, "b c 1 1"]
    logits: Float[Tensor, "b taps 1 1"]
    noise: Float[Tensor, "b 1 1 1"]

    @property
    def kernel(self) -> Float[Tensor, "b 1 k k"]:
        """The kernel, for direct decimation onto the grid of MATLAB's bicubic; sum 1, an image of one channel."""
        return functional.pixel_shuffle(torch.softmax(self.logits, dim=1), math.isqrt(self.logits.shape[1]))


class EstimatingNetwork(SRNetwork):
    """A network that estimates its input's blur and noise and restores it accordingly."""

    @abstractmethod
    def estimate(self, prepared: Float[Tensor, "b 3 _ _"]) -> DegradationEstimate:
        """Blur and noise of the trunk's input."""

    @abstractmethod
    def restore(self, prepared: Float[Tensor, "b 3 _ _"], estimate: DegradationEstimate) -> list[Tensor]:
        """The trunk's features, given what the image has gone through."""

    def trunk(self, prepared: Float[Tensor, "b 3 _ _"]) -> list[Tensor]:
        """The features under the network's own estimate."""
        return self.restore(prepared, self.estimate(prepared))


def sr_network(net: nn.Module) -> SRNetwork:
    """The net, known to be one.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(net, SRNetwork):
        raise TypeError(f"a super-resolution network must be an SRNetwork, got {type(net).__name__}")
    return net

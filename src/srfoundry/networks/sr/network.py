"""What a super-resolution network is to training, search and pruning, and a start that is shared by those without one.

Any network with these members can be trained by dual regression, searched and pruned: DRN, EDSR, SwinIR.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from srfoundry.networks.sr.prunable import Unit


@runtime_checkable  # narrow an nn.Module with isinstance; the shape checks of the tests need it too
class Restorer(Protocol):
    """A network low -> high in parts, so that half precision, multi-scale losses and distillation know where to cut."""

    scale: int
    multiple_of: int  # of the input's sides, for an exported graph; in PyTorch any size will do

    def prepare(self, low: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 _ _"]:
        """The part that never runs in half precision: the mean's shift, and an enlargement if there is one."""
        ...

    def trunk(self, prepared: Float[Tensor, "b 3 _ _"]) -> list[Tensor]:
        """Features before the last convolution of each image, smallest image first; the last are what distils."""
        ...

    def paint(self, features: Tensor, index: int) -> Float[Tensor, "b 3 _ _"]:
        """Image `index` of that list."""
        ...

    def images(self, low: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """All images, smallest first; the last is the restored one."""
        ...

    def forward(self, low: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 H W"]:
        """The restored image alone, range as the input's, unclipped."""
        ...

    def units(self) -> list[Unit]:
        """The prunable inner widths, in the order in which `inner` lists them to rebuild a pruned net."""
        ...

"""MZSR's network: eight plain convolutions that predict what bicubic enlargement misses."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn


class MZSR(nn.Module):
    """f(x) = x + CNN(x) on an image that is already enlarged (Soh et al., CVPR 2020, section 4.1).

    `depth` 3x3 convolutions with bias and zero padding, ReLU between them; 225,091 parameters at width 64, depth 8.
    `enlargement` says how the images that it gets were enlarged; it does not do it itself.
    """

    multiple_of = 1

    def __init__(
        self, *, width: int = 64, depth: int = 8, enlargement: Literal["bicubic", "linear"] = "bicubic"
    ) -> None:
        super().__init__()
        widths = [3, *[width] * (depth - 1), 3]
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            layers.append(nn.Conv2d(before, after, 3, padding=1))
            if index < depth - 1:
                layers.append(nn.ReLU())
        self.body = nn.Sequential(*layers)
        self.enlargement = enlargement
        self.reach = depth  # pixels to each side that an output pixel depends on

    def forward(self, enlarged: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        return enlarged + self.body(enlarged)

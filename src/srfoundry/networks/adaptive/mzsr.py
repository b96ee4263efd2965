"""MZSR's network: eight plain convolutions that predict what bicubic enlargement misses."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

LOUD = 16.0  # what a noise's standard deviation is multiplied by, so that it is of the size of pixels


class MZSR(nn.Module):
    """f(x) = x + CNN(x) on an image that is already enlarged (Soh et al., CVPR 2020, section 4.1).

    `depth` 3x3 convolutions with bias and zero padding, ReLU between them; 225,091 parameters at width 64, depth 8.
    `enlargement` says how the images that it gets were enlarged; it does not do it itself. One that knows `noise` takes
    a fourth channel, the standard deviation of the noise in the image before its enlargement (a map, as in FFDNet,
    Zhang et al., IEEE TIP 2018).
    """

    multiple_of = 1

    def __init__(
        self,
        *,
        width: int = 64,
        depth: int = 8,
        enlargement: Literal["bicubic", "linear"] = "bicubic",
        noise: bool = False,
    ) -> None:
        super().__init__()
        widths = [4 if noise else 3, *[width] * (depth - 1), 3]
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            layers.append(nn.Conv2d(before, after, 3, padding=1))
            if index < depth - 1:
                layers.append(nn.ReLU())
        self.body = nn.Sequential(*layers)
        self.enlargement, self.noise = enlargement, noise
        self.reach = depth  # pixels to each side that an output pixel depends on

    def forward(self, enlarged: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 h w"]:
        if not self.noise:
            return enlarged + self.body(enlarged)
        image, level = enlarged[:, :3], enlarged[:, 3:]
        return image + self.body(torch.cat([image, LOUD * level], dim=1))

    def start_from(self, before: "MZSR") -> None:
        """Take another one's weights; a noise that it did not know has no effect at first."""
        weights = before.state_dict()
        first = weights["body.0.weight"]
        missing = self.state_dict()["body.0.weight"].shape[1] - first.shape[1]
        weights["body.0.weight"] = torch.cat([first, first.new_zeros(len(first), missing, *first.shape[2:])], dim=1)
        self.load_state_dict(weights)


def with_noise(enlarged: Float[Tensor, "b 3 h w"], level: float | Float[Tensor, " b"]) -> Float[Tensor, "b 4 h w"]:
    """The input of a network that knows the noise: the images and their noise's standard deviation, range [0, 1]."""
    level = torch.as_tensor(level, dtype=enlarged.dtype, device=enlarged.device).view(-1, 1, 1, 1)
    return torch.cat([enlarged, level.expand(len(enlarged), 1, *enlarged.shape[-2:])], dim=1)

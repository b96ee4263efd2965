"""Layers that do not learn: enlargement, and the shift by the mean colour of the training images."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

WHITE = 255.0  # of the images that the authors of DRN and EDSR train on
MEAN = (0.4488, 0.4371, 0.4040)  # DIV2K's mean colour, range [0, 1]; in the paper's nets `peak` times this


def bicubic_taps(scale: int, coefficient: float = -0.75) -> Float[Tensor, "s 5"]:
    """One row of five cubic-convolution weights (Keys) for each output phase, for inputs -2..2 around the pixel."""
    centre = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale - 0.5
    distance = (centre[:, None] - torch.arange(-2, 3, dtype=torch.float64)[None]).abs()
    a = coefficient
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, torch.zeros_like(far)))


class Enlarge(nn.Module):
    """Bicubic interpolation by an integer scale, equal to torch's (a = -0.75, edges repeated), as conv and shuffle."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        taps = bicubic_taps(scale)
        kernel = torch.einsum("ik,jl->ijkl", taps, taps).reshape(scale**2, 1, 5, 5).repeat(3, 1, 1, 1)
        self.scale = scale
        self.register_buffer("kernel", kernel, persistent=False)  # float64, so that a net in double is exact

    def forward(self, low: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 H W"]:
        padded = functional.pad(low, (2, 2, 2, 2), mode="replicate")
        kernel = self.get_buffer("kernel").to(low.dtype)
        return functional.pixel_shuffle(functional.conv2d(padded, kernel, groups=3), self.scale)


class MeanShift(nn.Module):
    """A frozen 1x1 convolution that adds `sign` times the mean colour; 12 parameters, counted by the paper."""

    def __init__(self, peak: float, sign: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(3).reshape(3, 3, 1, 1), requires_grad=False)
        self.bias = nn.Parameter(sign * peak * torch.tensor(MEAN), requires_grad=False)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        return functional.conv2d(image, self.weight, self.bias)

    def after(self, tail: nn.Conv2d, features: Tensor) -> Float[Tensor, "b 3 h w"]:
        """What the shift makes of the image that `tail` paints, folded into the tail's weights: exact, and one conv."""
        assert tail.bias is not None
        mix = self.weight[:, :, 0, 0]
        weight = torch.einsum("ij,jckl->ickl", mix, tail.weight)
        return functional.conv2d(features, weight, mix @ tail.bias + self.bias, padding=1)


def rescale_to_one(head: nn.Conv2d, tails: Iterable[nn.Module], shifts: Iterable[MeanShift]) -> None:
    """Let a net for images in [0, 255] take and give images in [0, 1], in place.

    With its first weights times 255 and its last over 255 it gives just its images over 255.
    """
    with torch.no_grad():
        head.weight.mul_(WHITE)
        for tail in tails:
            assert isinstance(tail, nn.Conv2d) and tail.bias is not None
            tail.weight.div_(WHITE)
            tail.bias.div_(WHITE)
        for shift in shifts:
            shift.bias.div_(WHITE)

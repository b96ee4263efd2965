"""Dual nets D (high -> low): what must bring a restored image back to its input; used in training only.

Each maps the list of a net's images, smallest first, to a list that is compared with the smallest targets. They live
beside the net that they bring back, not inside it.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from srfoundry.imaging.scales import steps_of
from srfoundry.networks.sr.drn import reducing
from srfoundry.networks.zoo.published_layout import PublishedLayout


class DualNet(nn.Module):
    """D_k: one image to the next smaller size, 54 f weights: strided conv, LeakyReLU 0.2, conv, no biases."""

    def __init__(self, width: int, step: int) -> None:
        super().__init__()
        self.reduce = reducing(3, width, step)
        self.paint = nn.Conv2d(width, 3, 3, padding=1, bias=False)

    def forward(self, image: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b 3 h w"]:
        return self.paint(functional.leaky_relu(self.reduce(image), 0.2, inplace=True))


class DualNets(nn.ModuleList):
    """One dual net a phase, separate weights: the dual nets of a DRN."""

    def __init__(self, *, scale: int, width: int) -> None:
        super().__init__([DualNet(width, step) for step in steps_of(scale)])

    def forward(self, images: list[Tensor]) -> list[Tensor]:
        """D_k(y_k) for k = 1..P from the images y_0..y_P."""
        return [net(image) for net, image in zip(self, images[1:], strict=True)]


class StraightDual(nn.Module):
    """One net from the restored image straight to the input's size, for nets without images on the way (DRC).

    A strided 3x3 convolution and LeakyReLU 0.2 for each factor of two (one of three at x3), then a convolution to
    colours, no biases: 864 weights at x2, 3,168 at x4 with width 16.
    """

    def __init__(self, *, scale: int, width: int = 16) -> None:
        super().__init__()
        steps = steps_of(scale)
        self.reduce = nn.ModuleList([reducing(width if index else 3, width, step) for index, step in enumerate(steps)])
        self.paint = nn.Conv2d(width, 3, 3, padding=1, bias=False)

    def forward(self, images: list[Tensor]) -> list[Tensor]:
        """[D(y)] of the last image y of the list."""
        features = images[-1]
        for conv in self.reduce:
            features = functional.leaky_relu(conv(features), 0.2, inplace=True)
        return [self.paint(features)]


PUBLISHED = PublishedLayout(  # a list of DRN's; without biases they need no other range
    rules=[
        (r"(\d+)\.dual_module\.0\.0\.", r"\1.reduce."),
        (r"(\d+)\.dual_module\.1\.", r"\1.paint."),
    ]
)

"""Estimates a low-resolution image's own blur and noise: a few strided convolutions and one mean, plain operators.

What a degradation does to a photograph is seen everywhere and almost at once, so that the network is small and the
image may have any size. Its first layer begins as the cosine transform of small windows: what a blur takes away and a
noise adds are the energies of these waves. Places count by weights that are learned with the features, for a flat sky
says nothing of a blur and all of a noise. The logarithm of the means keeps a photograph's contrast apart.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from srfoundry.degradation.kernels import WIDEST
from srfoundry.networks.sr.bicubic_start import FAINT
from srfoundry.networks.sr.network import DegradationEstimate

CODE = 16  # numbers that say all of a degradation; Gaussians need 3, noise and compression 2 more
WINDOW = 5  # pixels a side that the first layer sees
WAVES = WINDOW**2 - 1  # without the constant
GAIN = 4.0  # of the waves, whose amplitudes in photographs are a few hundredths
LEAST = 1e-3  # a mean or a weight below it counts as none
CENTRE = 3.0  # that brings the logarithms of usual means near 0
QUIET = 0.02  # the noise that an untrained network estimates, range [0, 1]


class Predictor(nn.Module):
    """From an image to its `DegradationEstimate`.

    Args:
        taps: a side of the kernel, odd.
    """

    def __init__(self, *, taps: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, WAVES, WINDOW, stride=2, padding=WINDOW // 2)
        self.second = nn.Conv2d(WAVES, 2 * WAVES, 3, stride=2, padding=1)
        self.third = nn.Conv2d(2 * WAVES, 2 * WAVES, 1)
        self.weight = nn.Conv2d(2 * WAVES, 2 * WAVES, 1)
        self.mix = nn.Conv2d(2 * WAVES, 2 * WAVES, 1)
        self.code = nn.Conv2d(2 * WAVES, CODE, 1)
        self.kernel = nn.Conv2d(CODE, taps**2, 1)
        self.noise = nn.Conv2d(CODE, 1, 1)

    def forward(self, low: Float[Tensor, "b 3 h w"]) -> DegradationEstimate:
        """The estimate from an image in [0, 1] without its mean colour."""
        features = functional.relu(self.second(self.first(low).abs()), inplace=True)
        seen, weight = functional.relu(self.third(features)), torch.sigmoid(self.weight(features))
        total = (seen * weight).mean(dim=(2, 3), keepdim=True)
        mean = total / (weight.mean(dim=(2, 3), keepdim=True) + LEAST)
        code = self.code(functional.relu(self.mix(torch.log(mean + LEAST) + CENTRE)))
        return DegradationEstimate(code, self.kernel(code), torch.sigmoid(self.noise(code)))


def taps_for(scale: int) -> int:
    """Taps a side of a kernel that holds FKP's widest Gaussian (2.5 s px^2) and the way to the grid's centre; odd."""
    return 2 * math.ceil(3 * math.sqrt(WIDEST * scale) + (scale - 1) / 2) + 1


def waves() -> Float[Tensor, "n k k"]:
    """The cosine transform of a window (DCT-II, orthonormal) without its constant."""
    at, order = torch.arange(WINDOW) + 0.5, torch.arange(WINDOW)
    rows = torch.cos(math.pi / WINDOW * order[:, None] * at) * math.sqrt(2 / WINDOW)
    rows[0] /= math.sqrt(2)
    return torch.einsum("ui,vj->uvij", rows, rows).flatten(0, 1)[1:]


def start_at_gaussian(net: Predictor, scale: int) -> None:
    """Let an untrained predictor see the waves and say a round Gaussian of FKP's middle and little noise; in place.

    The first numbers of the code move the Gaussian's covariance, for its logarithm is a quadratic of the place. Every
    weight stays free to move.
    """
    side = math.isqrt(net.kernel.out_channels)
    axis = torch.arange(side) - (side - 1) / 2 - (scale - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    twice = WIDEST * scale  # two variances
    assert net.first.bias is not None and net.kernel.bias is not None and net.noise.bias is not None
    with torch.no_grad():
        net.first.weight.copy_(GAIN / 3 * waves()[:, None].expand(-1, 3, -1, -1))  # of the grey image
        net.first.bias.zero_()
        net.kernel.weight.mul_(FAINT)
        for index, shape in enumerate((x * x, y * y, x * y)):
            net.kernel.weight[:, index, 0, 0] = shape.flatten() / twice
        net.kernel.bias.copy_(-(x * x + y * y).flatten() / twice)
        net.noise.weight.mul_(FAINT)
        net.noise.bias.fill_(math.log(QUIET / (1 - QUIET)))

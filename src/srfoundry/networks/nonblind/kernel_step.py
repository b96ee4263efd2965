"""A learned step from least squares of a kernel's taps to a kernel.

The image that the taps are fitted to was restored with the kernel before, which was wrong, and so are the least
squares: blurred, drawn to the kernel before, full of faint taps. What is wrong with them looks alike from image to
image, and is learned.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.networks.nonblind.unfolded import UNet

FITS = 3  # least squares that the network sees
BASE = 2  # of the taps that it sees, before and FITS, the one that it alters
LEVEL, ROOT = 10.0, 3.0  # that taps and their roots are multiplied by: most are of 0.1 or less
MAPS = 5  # residual, autocorrelation, correlation with the observed image; scale and noise
MOST = 4.0  # logarithm that a tap is multiplied by, at most
ADDED = 0.05  # unit of what is added to taps
LEAST = 1e-8  # of a tap: where all others are nothing the sum is not


class KernelStep(nn.Module):
    """Taps times and plus what a U-Net says of them, positive and of sum 1.

    Args:
        scales: that it was trained for.
        widths: channels at the taps, their half and their quarter.
    """

    multiple_of = 1

    def __init__(self, *, scales: Sequence[int] = (2, 3, 4), widths: Sequence[int] = (40, 80, 120)) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.taps = UNet({"taps": (2 * (1 + FITS) + MAPS, 2)}, widths)

    def forward(self, seen: Float[Tensor, "b c k k"]) -> Float[Tensor, "b k k"]:
        """Kernels.

        Args:
            seen: LEVEL times the kernel before and the FITS, ROOT times their roots, and the MAPS
                (`motion_deblur.learned_step`).
        """
        base = seen[:, BASE] / LEVEL
        factor, more = self.taps(seen, "taps").float().unbind(dim=1)
        taps = (base * factor.clamp(-MOST, MOST).exp() + ADDED * more).clamp_min(0) + LEAST
        return taps / taps.sum(dim=(-2, -1), keepdim=True)


def start_plain(net: KernelStep) -> None:
    """Make an untrained network return the least squares: where trainings start."""
    with torch.no_grad():
        for weight in net.taps.tails["taps"].parameters():
            weight.zero_()

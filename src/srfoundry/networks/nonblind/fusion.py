"""Restorations of one image under a kernel that may be wrong, fused to one image.

As Vasu, Reddy Maligireddy and Rajagopalan (CVPR 2018) fuse deconvolutions of several strengths: what a wrong kernel
makes of an image depends on the strength, and looks alike from image to image. Where strengths agree the sharpest is
right; where they do not, it rings.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from srfoundry.networks.nonblind.unfolded import UNet

VIEWS = 5  # of an image: what was made of it, and what that is compared with
KNOWN = 3 + VIEWS  # of the whole image: noise, scale, doubt; how it rings; how far the views are apart
BLOCK = 2  # pixels a side that become channels
APART, LEVEL, NOISE = 10.0, 2.0, 30.0  # that differences between views, the level and the noise are multiplied by
STEP = 0.1  # unit of the change


class Fusion(nn.Module):
    """The first view, shares of the others' differences from it, and a change: what a U-Net says, luminance alone.

    Args:
        scales: that it was trained for.
        widths: channels at blocks of pixels, their half and their quarter.
    """

    multiple_of = 1

    def __init__(self, *, scales: Sequence[int] = (2, 3, 4), widths: Sequence[int] = (32, 64, 96)) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.unet = UNet({"views": (VIEWS * BLOCK**2 + KNOWN, VIEWS - 1 + BLOCK**2)}, widths)

    def forward(self, views: Float[Tensor, "b v H W"], known: Float[Tensor, "b n"]) -> Float[Tensor, "b 1 H W"]:
        """The fused luminance.

        Args:
            views: luminance, range [0, 1] (`restoration.fusion.views`).
            known: of each image (`known_of`).
        """
        height, width = views.shape[-2:]
        views = functional.pad(views, (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate")
        first, apart = views[:, :1], views[:, 1:] - views[:, :1]
        level = LEVEL * (first - first.mean(dim=(-2, -1), keepdim=True))
        blocks = functional.pixel_unshuffle(torch.cat([APART * apart, level], dim=1), BLOCK)
        everywhere = known[:, :, None, None].expand(-1, -1, *blocks.shape[-2:])
        said = self.unet(torch.cat([blocks, everywhere], dim=1), "views").float()
        shares = functional.interpolate(said[:, : VIEWS - 1], scale_factor=BLOCK, mode="nearest")
        change = STEP * functional.pixel_shuffle(said[:, VIEWS - 1 :], BLOCK)
        return (first + (shares * apart).sum(dim=1, keepdim=True) + change)[..., :height, :width]


def start_plain(net: Fusion) -> None:
    """Make an untrained network return the first view: where trainings start."""
    with torch.no_grad():
        for weight in net.unet.tails["views"].parameters():
            weight.zero_()

"""Restoration of an image whose blur is known by a trained non-blind network (USRNet), of any size."""

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.degradation.borders import join_ends
from srfoundry.degradation.conventions import Border
from srfoundry.imaging.tiling import Progress, tiled
from srfoundry.networks.nonblind.usrnet import USRNet

VARIANCES = (0.175, 2.5)  # of the Gaussians that the networks are trained on, in multiples of the scale (FKP, DKP)
TILE, OVERLAP = 256, 24  # low-resolution pixels a side that are restored at once, and that tiles reach into each other


def trained_size(scale: int) -> int:
    """Taps a side of the kernels that the networks are trained on (FKP)."""
    return 4 * scale + 3


def restore_by_usrnet(
    net: USRNet,
    low: Float[Tensor, "1 3 h w"],
    kernel: Float[Tensor, "1 k k"],
    scale: int,
    *,
    noise: float = 0.0,
    border: Border = "reflect",
    tile: int = TILE,
    progress: Progress | None = None,
) -> Float[Tensor, "1 3 H W"]:
    """Restore an image of any size with bounded memory.

    The network takes images for periodic; the ends of a photograph are joined (`make_periodic`).

    Args:
        net: on any device, in evaluation mode.
        low: observed image, range [0, 1].
        kernel: of its blur, a correlation about the middle tap, summing to 1.
        scale: of the enlargement.
        noise: standard deviation of the noise of `low`.
        border: `circular` for images that were blurred periodically, as the test sets of blind super-resolution are;
            they are restored in one piece. Anything else is a photograph.
        tile: low-resolution pixels a side that are restored at once.
        progress: is called with (tiles done, tiles in all).

    Returns:
        the image, clipped to [0, 1], on the CPU.
    """
    device = next(net.parameters()).device

    def upscale(part: Tensor) -> Tensor:
        height, width = (scale * extent for extent in part.shape[-2:])
        seen = part if border == "circular" else make_periodic(part, kernel.shape[-1], scale)
        with torch.inference_mode():
            image = net(seen.to(device), kernel.to(device), scale, noise)
        return image[..., :height, :width].clamp(0, 1).cpu()

    if border == "circular":
        return upscale(low)
    return tiled(upscale, low, scale, tile=tile, overlap=min(OVERLAP, tile // 4), progress=progress)


def make_periodic(low: Float[Tensor, "b c h w"], size: int, scale: int) -> Float[Tensor, "b c h2 w2"]:
    """Join the ends of a photograph, with room for a kernel of `size` taps a side, but never more than the image."""
    room = -(-size // scale) + 2
    return join_ends(low, [min(room, extent) for extent in low.shape[-2:]], fade="linear")

"""Restoration of an image whose blur is known by a trained non-blind network (USRNet), of any size."""

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.completion import complete_ends
from srfoundry.degradation.borders import join_ends, quick_room
from srfoundry.degradation.observation import Observation
from srfoundry.imaging.tensor_tiles import tiled
from srfoundry.imaging.tiling import Progress
from srfoundry.networks.nonblind.usrnet import USRNet

VARIANCES = (0.175, 2.5)  # of the Gaussians that the networks are trained on, in multiples of the scale (FKP, DKP)
TILE, OVERLAP = 256, 24  # low-resolution pixels a side that are restored at once, and that tiles reach into each other


def trained_size(scale: int) -> int:
    """Taps a side of the kernels that the networks are trained on (FKP)."""
    return 4 * scale + 3


def restore_by_usrnet(
    net: USRNet, observation: Observation, *, tile: int = TILE, progress: Progress | None = None
) -> Float[Tensor, "1 3 H W"]:
    """Restore an image of any size with bounded memory.

    The network takes images for periodic; a photograph is completed to one (`complete_ends`).

    Args:
        net: on any device, in evaluation mode.
        observation: one image and its kernel. Images with `circular` borders, as in the test sets of blind
            super-resolution, are restored in one piece; anything else is a photograph.
        tile: low-resolution pixels a side that are restored at once.
        progress: is called with (tiles done, tiles in all).

    Returns:
        the image, clipped to [0, 1], on the CPU.
    """
    device, scale, kernel = next(net.parameters()).device, observation.scale, observation.kernel
    assert kernel is not None
    blur, periodic = kernel.to(device), observation.border == "circular"

    def upscale(part: Tensor) -> Tensor:
        height, width = (scale * extent for extent in part.shape[-2:])
        with torch.inference_mode():
            part = part.to(device)
            seen = part if periodic else complete_ends(part, blur, scale, noise=observation.noise)
            image = net(seen, blur, scale, observation.noise)
        return image[..., :height, :width].clamp(0, 1).cpu()

    if periodic:
        return upscale(observation.low)
    return tiled(upscale, observation.low, scale, tile=tile, overlap=min(OVERLAP, tile // 4), progress=progress)


def make_periodic(low: Float[Tensor, "b c h w"], size: int, scale: int) -> Float[Tensor, "b c h2 w2"]:
    """Join the ends of a photograph, with room for a kernel of `size` taps a side, but never more than the image."""
    least = -(-size // scale) + 2
    return join_ends(low, [quick_room(extent, least) for extent in low.shape[-2:]], fade="linear")

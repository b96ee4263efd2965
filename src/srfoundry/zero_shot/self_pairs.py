"""What one image teaches: pairs of itself and its reduced copies, its sons, and the part of it that only judges."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from srfoundry.core.errors import FoundryError
from srfoundry.degradation import kernels

RINGING = 0.1  # sum of negative taps that a kernel moved by part of a pixel may have
BLOCK = 8  # pixels a side of the blocks that are held out: as wide as the network's sight, narrower than a tiny image


def phases(low: Float[Tensor, "b c h w"], scale: int, sons: int) -> Float[Tensor, "_ c p q"]:
    """The image from `sons` starting pixels of its first block, diagonal neighbours first, all of one size.

    Each is cut to a multiple of the scale; direct decimation then keeps other pixels of each.

    Raises:
        FoundryError: fewer than one son, or more than the block has pixels.
    """
    if not 1 <= sons <= scale**2:
        raise FoundryError(f"sons must be 1 to {scale**2} at scale {scale}, got {sons}")
    starts = [divmod(index, scale) for index in range(scale**2)]
    order = sorted(starts, key=lambda at: ((at[0] + at[1]) % 2, at[0], at[1]))[:sons]
    rim = [max(at[axis] for at in order) for axis in (0, 1)]
    height, width = ((low.shape[axis - 2] - rim[axis]) // scale * scale for axis in (0, 1))
    return torch.cat([low[..., top : top + height, left : left + width] for top, left in order])


def lattice(height: int, width: int, share: float) -> Bool[Tensor, "h w"]:
    """Which pixels are held out: blocks on a skewed lattice, one of every round(1 / share); the first always.

    Raises:
        FoundryError: the share is not 0 to 0.5.
    """
    if not 0 <= share <= 0.5:
        raise FoundryError(f"held_out must be a share of 0 to 0.5, got {share}; 0.1 holds out a tenth")
    if not share:
        return torch.zeros(height, width, dtype=torch.bool)
    period = round(1 / share)
    # Neighbours are held out far from each other; coprime, so that every column of blocks has its turn.
    skew = min(
        (one for one in range(1, period) if math.gcd(one, period) == 1), key=lambda one: abs(one - 0.38 * period)
    )
    rows, columns = (torch.arange(extent) // BLOCK for extent in (height, width))
    return (rows[:, None] * skew + columns[None, :]) % period == 0


def check(net: nn.Module, low: Float[Tensor, "b c h w"], kernel: Tensor | None, scale: int) -> None:
    """Refuse what has no son to learn from.

    Raises:
        FoundryError: no RGB image, no kernel, no scale, or an image smaller than the kernel or the net's sight.
    """
    check_image(low)
    if isinstance(scale, bool) or not isinstance(scale, int) or scale < 1:
        raise FoundryError(f"scale must be a whole number of at least 1, got {scale}; 2 doubles the image")
    size = 0
    if kernel is not None:
        kernels.check(kernel)
        size = kernel.shape[-1]
        if float(kernel.clamp(max=0).sum()) < -RINGING:
            raise FoundryError(
                f"kernel has negative taps (down to {float(kernel.min()):.3g}), which no blur has; set them to 0 and "
                "divide by the sum (kernels.normalise)"
            )
    height, width = low.shape[-2:]
    sees = 2 * int(getattr(net, "reach", 0)) + 1
    least = max(8 * scale, sees, size)
    if min(height, width) // scale * scale < least:
        why = f"the kernel of {size}x{size}" if size == least else "a son to learn from"
        raise FoundryError(
            f"image of {height}x{width} is too small to adapt on: {why} needs {-(-least // scale) * scale} pixels a "
            "side at least; take a larger image, or 0 steps"
        )


def check_image(low: Float[Tensor, "b c h w"]) -> None:
    """Refuse grey, four channels and pixels that are no numbers."""
    if low.shape[1] != 3:
        raise FoundryError(
            f"the network takes RGB images of 3 channels, got {low.shape[1]}; repeat grey three times, drop alpha"
        )
    if not bool(torch.isfinite(low).all()):
        raise FoundryError("the image holds NaN or infinity; mend these pixels first")

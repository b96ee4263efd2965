"""Enlargement of a low-resolution image to the size at which MZSR's network works.

`bicubic` is MATLAB's, as in the paper. `linear` knows the blur: for y = D x, with D any degradation of degrade.py, and
x a photograph of which only second moments are known, the linear estimate of least mean squared error that keeps
constants is a filter of y (ordinary kriging). The moments are those of a variogram |d|^h, whose spectrum falls as
|f|^-(2 + h). All of it is shift-invariant, so a window of low-resolution pixels and s x s small filters do, one filter
for each place in the s x s block.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from srfoundry.degradation import kernels, operator
from srfoundry.imaging import resize

How = Literal["bicubic", "linear"]

RADIUS = 5  # low-resolution pixels that a filter looks to each side
ROUGHNESS = 1.0  # h, between 0 and 2; chosen on validation photographs, and hardly matters
NOISE = 3e-4  # variance of a low-resolution pixel's error in units of the variogram at one pixel; chosen likewise
LEVEL = 1e4  # variance of an image's mean in the same units: so large that a filter's taps sum to one
AT_ONCE = 128  # kernels whose filters are solved together


def enlarge(
    low: Float[Tensor, "b c h w"],
    kernel: Float[Tensor, "n k k"] | None,
    scale: int,
    *,
    how: How,
    decimation: operator.Decimation = "direct",
) -> Float[Tensor, "b c H W"]:
    """Enlarge by `scale` in one of the two ways; neither rounded nor clipped.

    Args:
        low: range [0, 1].
        scale: the enlargement.
        how: `bicubic` or `linear`.
        kernel: the blur (MZSR's convention) that `linear` undoes, one for all images or one for each; None means that
            MATLAB's bicubic made the image.
        decimation: how the image was reduced after the blur.
    """
    if how == "bicubic":
        return resize.cubic(low, scale)
    if kernel is None:
        kernel, decimation = torch.ones(1, 1, 1), "bicubic"
    return linear(low, filters(kernel, scale, decimation=decimation))


def filters(
    kernel: Float[Tensor, "n k k"], scale: int, *, decimation: operator.Decimation = "direct"
) -> Float[Tensor, "n p t t"]:
    """For each kernel p = scale^2 filters of t = 2 RADIUS + 1 taps a side, for the places of a block row by row.

    Args:
        kernel: the blur, MZSR's convention.
        scale: of the enlargement.
        decimation: how images were reduced after the blur.

    Raises:
        FoundryError: not a kernel.
    """
    kernels.check(kernel)
    parts = kernel.detach().double().cpu().split(AT_ONCE)
    return torch.cat([_solve(part, scale, decimation) for part in parts]).to(kernel.device)


def linear(low: Float[Tensor, "b c h w"], filters: Float[Tensor, "n p t t"]) -> Float[Tensor, "b c H W"]:
    """Filter with one set for all images (n = 1) or one for each, edge pixels repeated outside."""
    batch, channels, height, width = low.shape
    count, places, side = filters.shape[:3]
    padded = F.pad(low, [side // 2] * 4, mode="replicate")
    planes = padded.reshape(batch * channels, 1, *padded.shape[-2:])
    if count == 1:
        high = F.conv2d(planes, filters[0, :, None].to(low))
    else:
        taps = filters.to(low).flatten(2).repeat_interleave(batch // count * channels, dim=0)
        high = taps @ F.unfold(planes, side)
    return F.pixel_shuffle(high.reshape(batch, channels * places, height, width), round(places**0.5))


def _solve(kernel: Float[Tensor, "n k k"], scale: int, decimation: operator.Decimation) -> Float[Tensor, "n p t t"]:
    sight = _sight(kernel, scale, decimation)
    half = sight.shape[-1] // 2
    far = 2 * RADIUS * scale  # the largest shift between two low-resolution pixels of a window
    axis = torch.arange(-far - 2 * half, far + 2 * half + 1, dtype=torch.float64)
    moment = LEVEL - (axis[:, None] ** 2 + axis[None, :] ** 2).pow(ROUGHNESS / 2)
    cross = F.conv2d(moment[None, None], sight)  # <x(0), y around d> for all shifts d
    both = F.conv2d(cross, sight.flip(-2, -1), groups=len(kernel))  # <y around 0, y around d>
    window = torch.arange(-RADIUS, RADIUS + 1)
    rows, columns = (grid.flatten() * scale for grid in torch.meshgrid(window, window, indexing="ij"))
    down, right = (line[:, None] - line[None, :] + both.shape[-1] // 2 for line in (rows, columns))
    seen = both[0, :, down, right] + NOISE * torch.eye(len(rows), dtype=torch.float64)
    block = torch.arange(scale)
    above, before = (grid.flatten() for grid in torch.meshgrid(block, block, indexing="ij"))
    down = rows[None, :] - above[:, None] + cross.shape[-1] // 2
    right = columns[None, :] - before[:, None] + cross.shape[-1] // 2
    made = torch.linalg.solve(seen, cross[0, :, down, right].mT).mT
    made = made / made.sum(dim=-1, keepdim=True)
    return made.reshape(len(kernel), scale**2, len(window), len(window)).float()


def _sight(kernel: Float[Tensor, "n k k"], scale: int, decimation: operator.Decimation) -> Float[Tensor, "n 1 q q"]:
    """The weights with which a low-resolution pixel sees the photograph, around its block's first pixel."""
    half = kernel.shape[-1] // 2 + (2 * scale + scale // 2 if decimation == "bicubic" else 0)
    middle = -(-half // scale) + 2
    spot = torch.zeros(len(kernel), 1, 2 * middle + 1, 2 * middle + 1, dtype=torch.float64)
    spot[..., middle, middle] = 1
    extent = (2 * middle + 1) * scale
    seen = operator.adjoint(spot, kernel, scale, (extent, extent), decimation=decimation)
    first, last = middle * scale - half, middle * scale + half + 1
    return seen[..., first:last, first:last]

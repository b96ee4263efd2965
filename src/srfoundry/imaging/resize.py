"""MATLAB's bicubic imresize, in the two conventions that the field's test sets were made with.

Keys' kernel with a = -0.5, antialiased when shrinking, rows before columns. PyTorch's and Pillow's bicubic differ from
it in 10 to 22 % of pixels, so neither is ever used as it is for a low-resolution image or a baseline here. Where 8-bit
photographs are halved, the difference is the order of the passes and the border alone: Pillow's passes, each called for
on repeated edges, then give the same bits in a fifth of the time.
"""

import math
from fractions import Fraction
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from srfoundry.core.errors import FoundryError
from srfoundry.imaging.mirror import mirror_indices

LARGE = 5_000  # samples of a batch from which on the way through Pillow is the quicker one
Border = Literal["symmetric", "replicate"]
Scale = int | float | tuple[int | float, int | float]


def cubic(
    image: Float[Tensor, "b c h w"],
    scale: Scale,
    size: tuple[int, int] | None = None,
    border: Border = "symmetric",
) -> Float[Tensor, "b c H W"]:
    """Resize float images by `scale` (> 1 enlarges); differentiable, neither rounded nor clipped.

    Args:
        image: any range.
        scale: one for both, or one for the rows and one for the columns; the smaller is done first, as in MATLAB.
        size: the output's height and width; ceil(scale * input) if not given. The sampling grid follows `scale`.
        border: `symmetric` mirrors including the edge pixel (today's MATLAB), `replicate` repeats it (older MATLAB).

    Raises:
        FoundryError: a scale is not a positive number.
    """
    for dim, length, factor in _passes(image, scale, size):
        image = _along(image, dim, length, factor, border)
    return image


def cubic_uint8(
    image: UInt8[Tensor, "b c h w"],
    scale: Scale,
    size: tuple[int, int] | None = None,
    border: Border = "replicate",
) -> UInt8[Tensor, "b c H W"]:
    """Resize 8-bit images as MATLAB does: in double precision, rounded half up after each pass.

    Args:
        image: levels 0 to 255.
        scale: as for `cubic`.
        size: as for `cubic`.
        border: `replicate`, as the published test sets were made, or `symmetric`, as today's MATLAB does.
    """
    if border == "replicate" and size is None and (halved := _halved(image, scale)) is not None:
        return halved
    for dim, length, factor in _passes(image, scale, size):
        image = _round(_along(image, dim, length, factor, border)).to(torch.uint8)
    return image


def _halved(image: UInt8[Tensor, "b c h w"], scale: Scale) -> UInt8[Tensor, "b c H W"] | None:
    """8-bit RGB reduced by 2, 4 or 8 by Pillow, rows first and over repeated edges; None where it is anything else.

    Pillow computes in integers, with weights of 22 binary digits after the point: at these scales they are exact.
    """
    factor = {0.5: 2, 0.25: 4, 0.125: 8}.get(scale if isinstance(scale, float) else 0.0)
    if factor is None or image.device.type != "cpu" or image.shape[1] != 3 or image.numel() < LARGE:
        return None
    border = 2 * factor  # how far the kernel reaches
    pixels = image.permute(0, 2, 3, 1).numpy()
    for axis in (1, 2):  # rows of all images side by side, then columns of all one below the other
        count, *sides, _ = pixels.shape
        length = -(-pixels.shape[axis] // factor)
        reach = (border, border + length * factor - pixels.shape[axis])
        padded = np.pad(pixels, [reach if each == axis else (0, 0) for each in range(4)], "edge")
        first, last = border, border + length * factor
        if axis == 1:
            whole = padded.swapaxes(0, 1).reshape(-1, count * sides[1], 3)
            shape, box = (whole.shape[1], length), (0, first, whole.shape[1], last)
        else:
            whole = padded.reshape(count * sides[0], -1, 3)
            shape, box = (length, len(whole)), (first, 0, last, len(whole))
        made = np.asarray(Image.fromarray(whole).resize(shape, Image.Resampling.BICUBIC, box))
        pixels = made.reshape(length, count, -1, 3).swapaxes(0, 1) if axis == 1 else made.reshape(count, -1, length, 3)
    found = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2)
    return found.contiguous() if image.is_contiguous() else found


def cubic_at(image: Float[Tensor, "b c h w"], scale: int, phase: float) -> Float[Tensor, "b c H W"]:
    """Cubic enlargement with pixel i at the place scale * i + phase; neither rounded nor clipped.

    Args:
        image: any range.
        scale: the enlargement.
        phase: high-resolution pixels, 0 to scale - 1: 0 where every s-th pixel was kept, (scale - 1) / 2 for MATLAB's
            bicubic and all that centres blocks.
    """
    if phase == (scale - 1) / 2:
        return cubic(image, scale)
    for dim in (-2, -1):
        places = (torch.arange(scale * image.shape[dim], dtype=torch.float64) - phase) / scale
        image = _interpolated(image, places.to(image.device), dim)
    return image


def output_size(image: Tensor, scale: Scale) -> tuple[int, int]:
    """Return MATLAB's output size, ceil(scale * input)."""
    height, width = image.shape[-2:]
    rows, columns = _pair(scale)
    # 1e-9: 24 * (1 / 3) is 8.000000000000002 in binary, and must give 8
    return math.ceil(height * rows - 1e-9), math.ceil(width * columns - 1e-9)


def _pair(scale: Scale) -> tuple[int | float, int | float]:
    rows, columns = scale if isinstance(scale, tuple) else (scale, scale)
    if not (0 < rows < math.inf and 0 < columns < math.inf):
        raise FoundryError(f"scale must be above 0 and finite, got {scale}; 0.5 halves, 2 doubles")
    return rows, columns


def _passes(image: Tensor, scale: Scale, size: tuple[int, int] | None) -> list[tuple[int, int, int | float]]:
    """Dimension, length and scale of the two passes: the smaller scale first, rows first where they are equal."""
    rows, columns = _pair(scale)
    height, width = size or output_size(image, scale)
    return sorted([(-2, height, rows), (-1, width, columns)], key=lambda each: each[2])


def _round(levels: Tensor) -> Tensor:
    return torch.floor(levels + 0.5).clamp(0, 255)


def _along(image: Tensor, dim: int, length: int, scale: int | float, border: Border) -> Tensor:
    """One pass. Taps are summed in one order whatever the way to them, so that results are the same to the bit."""
    weights, source = _contributions(length, scale)
    if image.dtype == torch.uint8:  # where every product is exact in it, single precision is as good and quicker
        image = image.float() if bool((weights * 4096 == (weights * 4096).round()).all()) else image.double()
    first, last = int(source.min()), int(source.max())
    image = image.index_select(dim, _inside(first, last, image.shape[dim], border, image.device))
    source = source - first
    weights = _weights(length, scale, image.dtype, image.device).view(length, -1, *([1] if dim == -2 else []))
    period, stride = _rhythm(source, scale)
    parts = []
    for phase in range(period):
        rows = -(-(length - phase) // period)
        part = image.new_zeros(())
        for tap in range(source.shape[1]):  # one tap at a time: memory stays that of the output
            if stride:
                start = int(source[phase, tap])
                taken = _slice(image, dim, start, start + (rows - 1) * stride + 1, stride)
            else:
                taken = image.index_select(dim, source[:, tap].to(image.device))
            part = part + taken * weights[phase::period, tap]
        parts.append(part)
    return parts[0] if period == 1 else _interleaved(parts, dim, length)


def _rhythm(source: Tensor, scale: int | float) -> tuple[int, int]:
    """Outputs after which the taps' places repeat, and by how much they have moved then: for s = p / q, p and q.

    Slices then replace gathering; a stride of 0 says that there is no short rhythm.
    """
    ratio = Fraction(scale).limit_denominator(32)
    period, stride = ratio.numerator, ratio.denominator
    if 0 < period <= min(32, len(source)) and bool((source[period:] - source[:-period] == stride).all()):
        return period, stride
    return 1, 0


def _slice(image: Tensor, dim: int, start: int, stop: int, stride: int) -> Tensor:
    return image[..., start:stop:stride, :] if dim == -2 else image[..., start:stop:stride]


def _interleaved(parts: list[Tensor], dim: int, length: int) -> Tensor:
    rows = parts[0].shape[dim]
    padded = [torch.cat([part, part.narrow(dim, 0, 1)], dim) if part.shape[dim] < rows else part for part in parts]
    whole = torch.stack(padded, dim).flatten(dim - 1, dim)
    return whole.narrow(dim, 0, length)


def _inside(first: int, last: int, extent: int, border: Border, device: torch.device) -> Int[Tensor, " n"]:
    """Pixels of the image that stand for places first to last, some of them outside."""
    index = torch.arange(first, last + 1, device=device)
    if border == "replicate":
        return index.clamp(0, extent - 1)
    return mirror_indices(index, extent)


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # what is kept serves gradients, too
def _weights(length: int, scale: int | float, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "n taps"]:
    """The weights where they are needed: a GPU that records its work takes no copy from here meanwhile."""
    return _contributions(length, scale)[0].to(device, dtype)


@lru_cache(maxsize=256)
@torch.inference_mode(False)
def _contributions(length: int, scale: int | float) -> tuple[Float[Tensor, "n taps"], Int[Tensor, "n taps"]]:
    """Weights and places (counted from 0, outside of the image too) of every output sample, as imresize has them."""
    shrink = min(scale, 1.0)
    support = 4.0 / shrink
    centre = torch.arange(1, length + 1, dtype=torch.float64) / scale + 0.5 * (1 - 1 / scale)
    first = torch.floor(centre - support / 2)
    source = first[:, None] + torch.arange(math.ceil(support) + 2, dtype=torch.float64)
    weights = shrink * keys(shrink * (centre[:, None] - source))
    weights = weights / weights.sum(dim=1, keepdim=True)
    used = (weights != 0).any(dim=0)
    return weights[:, used], source[:, used].long() - 1


def keys(distance: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -0.5."""
    d = distance.abs()
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return torch.where(d <= 1, near, torch.where(d <= 2, far, torch.zeros_like(d)))


def _interpolated(image: Tensor, places: Float[Tensor, " n"], dim: int) -> Tensor:
    """Keys' interpolation at fractional places of one dimension, edge pixels repeated outside."""
    first = places.floor()
    parts = []
    for tap in (-1, 0, 1, 2):
        source = (first + tap).clamp(0, image.shape[dim] - 1).long()
        weights = keys(places - first - tap).to(image)
        parts.append(image.index_select(dim, source) * (weights[:, None] if dim == -2 else weights))
    return parts[0] + parts[1] + parts[2] + parts[3]

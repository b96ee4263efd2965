"""The degradation y = (x * k) downsampled by s + n, batched, on any device, with its adjoint beside it.

`degrade` is the linear part A x = (x * k) downsampled by s; `add_noise` and `jpeg` are what may come after it.

Without a convention, kernels are MZSR's: correlation, centred on the middle tap, borders mirrored. `direct` decimation
keeps the top-left pixel of every s x s block, so the low-resolution grid lies (s - 1) / 2 high-resolution pixels left
of and above the bicubic one. conventions.py knows the others.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from srfoundry.core.errors import FoundryError
from srfoundry.degradation import conventions
from srfoundry.degradation.conventions import Border, Convention
from srfoundry.degradation.settings import Corruption
from srfoundry.imaging import images, resize
from srfoundry.imaging.mirror import mirror_indices

Decimation = Literal["direct", "bicubic"]


def degrade(
    high: Float[Tensor, "b c H W"],
    kernel: Float[Tensor, "n k k"],
    scale: int | float,
    *,
    decimation: Decimation = "direct",
    border: Border | None = None,
    convention: conventions.Name = "mzsr",
) -> Float[Tensor, "b c h w"]:
    """Blur and decimate: A x = (x * k) downsampled by s (MZSR eq. 1 without its noise).

    Differentiable in image and kernel; neither rounded nor clipped.

    Args:
        high: the image x.
        kernel: one for all (n = 1), one for each (n = b), or one for each b / n of them in a row (an image's patches).
        scale: 1 or more; 2, 3, 4 and 8 are the field's. With a fraction, `direct` keeps ceil(size / s) pixels, evenly
            spread (MZSR's multi-scale model).
        decimation: `bicubic` is MATLAB's, after the blur; its kernels are centred whatever the convention.
        border: what lies outside; `reflect` mirrors including the edge pixel. None takes the convention's.
        convention: whose kernel it is, and whose borders.

    Raises:
        FoundryError: sizes of image, kernel and scale do not fit each other.
    """
    scale, rule = _whole(scale), conventions.get(convention)
    filter_ = conventions.correlation(kernel, convention)
    _fitting(high, filter_)
    if decimation == "direct" and not rule.spread and scale != int(scale):
        raise FoundryError(
            f"convention {convention} keeps every s-th pixel, got scale {scale}; take a whole one or mzsr"
        )
    border = border or rule.border
    if decimation == "bicubic":
        return resize.cubic(_filter(high, filter_, border, 1), 1 / scale)
    if isinstance(scale, int) and _even(high, scale, rule):
        return _filter(high, filter_, border, scale)
    low = _filter(high, filter_, border, 1)
    low = low.index_select(-2, sample_indices(high.shape[-2], scale).to(low.device))
    return low.index_select(-1, sample_indices(high.shape[-1], scale).to(low.device))


def adjoint(
    low: Float[Tensor, "b c h w"],
    kernel: Float[Tensor, "n k k"],
    scale: int | float,
    size: tuple[int, int],
    *,
    decimation: Decimation = "direct",
    border: Border | None = None,
    convention: conventions.Name = "mzsr",
) -> Float[Tensor, "b c H W"]:
    """Apply the transpose A' of `degrade`, so that <A x, y> = <x, A' y>.

    Args:
        low: y.
        size: height and width of x.
        kernel, scale, decimation, border, convention: as `degrade` takes them.
    """
    with torch.inference_mode(False), torch.enable_grad():
        low, kernel = low.clone(), kernel.clone()  # tensors of inference mode take part in no gradient
        blank = low.new_zeros(*low.shape[:2], *size, requires_grad=True)
        image = degrade(blank, kernel.detach(), scale, decimation=decimation, border=border, convention=convention)
        return torch.autograd.grad(image, blank, low.detach())[0]  # A is linear: its gradient is its transpose


def add_noise(
    low: Float[Tensor, "b c h w"], noise: float, *, rng: torch.Generator | None = None
) -> Float[Tensor, "b c h w"]:
    """Add white Gaussian noise n (MZSR eq. 1).

    Args:
        low: any range.
        noise: standard deviation, in the image's range.
        rng: needed when `noise` is above 0.

    Raises:
        FoundryError: noise without a generator.
    """
    if noise == 0:
        return low
    if rng is None:
        raise FoundryError(f"noise {noise} needs a generator; pass rng=seeds.generator(...)")
    return low + noise * torch.randn(low.shape, generator=rng, device=rng.device, dtype=low.dtype).to(low.device)


def jpeg(low: Float[Tensor, "b c h w"], quality: int) -> Float[Tensor, "b c h w"]:
    """Compress and read again, `quality` 1 to 95; the gradient is passed straight through."""
    return images.jpeg(low.detach(), quality) + (low - low.detach())  # the bracket is 0, and has the gradient


def corrupt(
    low: Float[Tensor, "b c h w"], corruption: Corruption, *, rng: torch.Generator | None = None
) -> Float[Tensor, "b c h w"]:
    """What comes after the linear degradation: + n (MZSR eq. 1), then compression.

    Args:
        low: A x, range [0, 1].
        corruption: noise and JPEG quality.
        rng: needed when there is noise.

    Raises:
        FoundryError: noise without a generator.
    """
    low = add_noise(low, corruption.noise, rng=rng)
    return jpeg(low, corruption.jpeg) if corruption.jpeg else low


def sample_indices(extent: int, scale: int | float) -> Int[Tensor, " n"]:
    """Return the pixels that direct decimation keeps: 0, s, 2s, ... where s divides, MZSR's even spread elsewhere.

    The scale may have a fraction: round(linspace(0, extent - s, ceil(extent / s))), halves to even numbers.
    """
    count = math.ceil(extent / scale - 1e-9)  # 42 / 2.8 is 15.000000000000002 in binary, and must give 15
    # numpy's linspace, term by term: torch's goes back from the end in its second half, and rounds other halves up
    spread = torch.arange(count, dtype=torch.float64) * ((extent - scale) / max(1, count - 1))
    spread[1:][-1:] = extent - scale
    return torch.round(spread).long()  # torch rounds half to even, as numpy does


def _whole(scale: int | float) -> int | float:
    if not 1 <= scale < math.inf:
        raise FoundryError(f"scale must be 1 or more, got {scale}; 2 halves the image")
    return int(scale) if scale == int(scale) else scale


def _fitting(high: Tensor, kernel: Tensor) -> None:
    if not len(kernel) or high.shape[0] % kernel.shape[0]:
        raise FoundryError(f"{kernel.shape[0]} kernels for {high.shape[0]} images; give one, or one for each")
    size = kernel.shape[-1]
    if min(high.shape[-2:]) < size // 2 + 1:
        raise FoundryError(
            f"image {tuple(high.shape[-2:])} is smaller than half the {size}x{size} kernel; take a larger one"
        )


def _even(high: Tensor, scale: int, rule: Convention) -> bool:
    """Whether every s-th pixel is kept; where s does not divide a side, ZSSR spreads ceil(size / s) over it."""
    return not rule.spread or all(extent % scale == 0 for extent in high.shape[-2:])


def _filter(image: Tensor, kernel: Tensor, border: Border, stride: int) -> Tensor:
    batch, channels, height, width = image.shape
    size = kernel.shape[-1]
    padded = _pad(image, size // 2, (size - 1) // 2, border)
    taps = kernel.to(image)
    if image.dtype == torch.float64 and image.device.type == "cpu":
        return _by_taps(padded, taps.repeat_interleave(batch // len(taps), dim=0), stride)
    if kernel.shape[0] == 1:
        flat = padded.reshape(batch * channels, 1, *padded.shape[-2:])
        low = F.conv2d(flat, taps.unsqueeze(1), stride=stride)
    else:
        flat = padded.reshape(1, batch * channels, *padded.shape[-2:])
        each = taps.repeat_interleave(flat.shape[1] // len(taps), dim=0).unsqueeze(1)
        low = F.conv2d(flat, each, stride=stride, groups=batch * channels)
    return low.reshape(batch, channels, *low.shape[-2:])


def _by_taps(padded: Tensor, taps: Tensor, stride: int) -> Tensor:
    """Sum shifted images tap by tap: PyTorch's double convolution unfolds gigabytes and takes 20 times as long.

    The image is dealt into its stride x stride phases first, so that every shift is a plain window.
    """
    size = taps.shape[-1]
    height, width = ((extent - size) // stride + 1 for extent in padded.shape[-2:])
    phases = [
        [padded[..., row::stride, column::stride].contiguous() for column in range(stride)] for row in range(stride)
    ]
    low = padded.new_zeros(*padded.shape[:2], height, width)
    for row in range(size):
        for column in range(size):
            top, left = row // stride, column // stride
            window = phases[row % stride][column % stride][..., top : top + height, left : left + width]
            low.add_(window * taps[:, row, column].view(-1, 1, 1, 1))
    return low


def _pad(image: Tensor, before: int, after: int, border: Border) -> Tensor:
    if border == "circular":
        return F.pad(image, (before, after, before, after), mode="circular")
    for dim in (-2, -1):
        extent = image.shape[dim]
        index = torch.arange(-before, extent + after, device=image.device)
        if border == "replicate":
            index = index.clamp(0, extent - 1)
        else:
            index = mirror_indices(index, extent)
        image = image.index_select(dim, index)
    return image

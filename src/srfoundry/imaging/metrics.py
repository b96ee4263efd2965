"""How good a restored image or an estimated kernel is, by the field's protocols."""

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from srfoundry.imaging import resize
from srfoundry.imaging.images import from_uint8, matlab_luma, to_uint8


def psnr_y(
    restored: Float[Tensor, "b 3 h w"], high: Float[Tensor, "b 3 H W"], border: int, *, whole: bool = False
) -> float:
    """Peak signal-to-noise ratio in dB on Y: both images rounded to 8 bits, `border` pixels cropped.

    Args:
        restored: range [0, 1].
        high: the original, of the same size.
        border: pixels to crop.
        whole: round Y to whole numbers too, as MATLAB's rgb2ycbcr of 8-bit images does and MZSR's tables are made.

    Raises:
        ValueError: the sizes differ (that is evidence of a mistake, never cropped away).
    """
    a, b = _cropped_luma(restored, high, border, whole), _cropped_luma(high, restored, border, whole)
    error = (a - b).square().mean()
    return math.inf if error == 0 else float(10 * torch.log10(255.0**2 / error))


def ssim_y(
    restored: Float[Tensor, "b 3 h w"], high: Float[Tensor, "b 3 H W"], border: int, *, whole: bool = False
) -> float:
    """Structural similarity on Y (Wang et al. 2004): Gaussian window 11x11 of deviation 1.5, valid region only.

    Args:
        restored: range [0, 1].
        high: the original, of the same size.
        border: pixels to crop.
        whole: round Y to whole numbers too, as for `psnr_y`.
    """
    a, b = _cropped_luma(restored, high, border, whole), _cropped_luma(high, restored, border, whole)
    axis = torch.arange(-5, 6, dtype=torch.float64)
    window = torch.exp(-(axis**2) / (2 * 1.5**2))
    window = window / window.sum()

    def smooth(image: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(image, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    covariance = smooth(a * b) - mean_a * mean_b
    ratio = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(ratio.mean())


def scores(restored: Float[Tensor, "b 3 h w"], high: Float[Tensor, "b 3 H W"], border: int) -> dict[str, float]:
    """`psnr_y` and `ssim_y` by name.

    Args:
        restored: range [0, 1].
        high: the original, of the same size.
        border: pixels to crop.
    """
    return {"psnr_y": psnr_y(restored, high, border), "ssim_y": ssim_y(restored, high, border)}


def gains(images: Iterable[tuple[Tensor, Tensor, Tensor]], scale: int) -> dict[str, float]:
    """Mean PSNR-Y in dB over images, that of MATLAB's bicubic, and the gain over it; `scale` pixels cropped.

    Args:
        images: of each the restored one, the low-resolution one and the original, 1 x 3 x height x width, range [0, 1].
        scale: of the enlargement.
    """
    rows = [
        (psnr_y(image.cpu(), high, scale), psnr_y(resize.cubic(low, scale).cpu(), high, scale))
        for image, low, high in images
    ]
    restored, enlarged = 0.0, 0.0
    for ours, bicubic in rows:
        restored += ours / len(rows)
        enlarged += bicubic / len(rows)
    return {"psnr_y": restored, "bicubic_psnr_y": enlarged, "gain_db": restored - enlarged}


def kernel_psnr(estimate: Float[Tensor, "*n k k"], kernel: Float[Tensor, "*m j j"]) -> float:
    """PSNR in dB of a kernel, peak 1, all taps, not aligned (the blind-SR papers' measure)."""
    if estimate.shape != kernel.shape:
        raise ValueError(f"kernels must have one size, got {tuple(estimate.shape)} and {tuple(kernel.shape)}")
    error = (estimate.double() - kernel.double()).square().mean()
    return math.inf if error == 0 else float(-10 * torch.log10(error))


def padded_kernel_psnr(estimate: Float[Tensor, "*n k k"], kernel: Float[Tensor, "*m j j"]) -> float:
    """`kernel_psnr` of kernels of any odd sizes: the smaller is set into zeros, as the truth's size is not known."""
    size = max(estimate.shape[-1], kernel.shape[-1])
    return kernel_psnr(*(F.pad(each, [(size - each.shape[-1]) // 2] * 4) for each in (estimate, kernel)))


def _cropped_luma(image: Tensor, other: Tensor, border: int, whole: bool) -> Tensor:
    if image.shape != other.shape:
        raise ValueError(f"images must have one size, got {tuple(image.shape)} and {tuple(other.shape)}")
    y = matlab_luma(from_uint8(to_uint8(image)).double().cpu())
    y = torch.floor(y + 0.5) if whole else y
    height, width = y.shape[-2:]
    return y[..., border : height - border, border : width - border]

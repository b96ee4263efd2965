"""An estimate held against the truth, once it is known: kernel and image of the window that was looked at."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.estimate import Estimate
from srfoundry.imaging import metrics, windows


@dataclass(frozen=True)
class Comparison:
    """What was observed, restored and true, in the window of an estimate.

    Attributes:
        kernel_psnr: of the kernel, in dB; the smaller of both kernels is set into zeros.
        psnr_y: of the image's luma, in dB.
    """

    low: Float[Tensor, "1 3 h w"]
    restored: Float[Tensor, "1 3 H W"]
    high: Float[Tensor, "1 3 H W"]
    kernel_psnr: float
    psnr_y: float


def compare_with_truth(
    estimate: Estimate,
    low: Float[Tensor, "1 3 y x"],
    high: Float[Tensor, "1 3 Y X"],
    kernel: Float[Tensor, "1 k k"],
    scale: int,
) -> Comparison:
    """Compare an estimate that has an image.

    Args:
        low: the whole observed image.
        high: the photograph that it was made from.
        kernel: that it was made with.
        scale: by which it was reduced.
    """
    assert estimate.restored is not None
    top, left, height, width = estimate.box
    seen = windows.crop(low, estimate.box)
    wanted = windows.crop(high, (scale * top, scale * left, scale * height, scale * width))
    restored = estimate.restored.cpu()
    quality = metrics.padded_kernel_psnr(estimate.kernel.cpu(), kernel)
    return Comparison(seen, restored, wanted, quality, metrics.psnr_y(restored, wanted, scale))

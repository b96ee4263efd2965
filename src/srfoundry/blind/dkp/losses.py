"""What DKP minimises: the data term of image and kernel, the image's own prior, and the distance of two kernels."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.networks.nonblind import fixed_order

Data = Callable[[Tensor, Tensor], Tensor]  # (kernel, image) -> the data term


def ssim_loss(a: Float[Tensor, "1 c h w"], b: Float[Tensor, "1 c h w"]) -> Float[Tensor, ""]:
    """1 - SSIM for the range [0, 1]: Gaussian window 11x11 of deviation 1.5, zeros beyond the border (DKP)."""
    axis = torch.arange(-5, 6, device=a.device, dtype=a.dtype)
    window = torch.exp(-(axis**2) / (2 * 1.5**2))
    window = window / window.sum()
    stack = torch.cat([a, b, a * a, b * b, a * b])
    flat = stack.flatten(0, 1).unsqueeze(1)
    flat = functional.conv2d(flat, window.view(1, 1, -1, 1), padding=(5, 0))
    flat = functional.conv2d(flat, window.view(1, 1, 1, -1), padding=(0, 5))
    mean_a, mean_b, aa, bb, ab = flat.view_as(stack)
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + c1) * (2 * (ab - mean_a * mean_b) + c2)
    return 1 - (top / ((mean_a**2 + mean_b**2 + c1) * (aa - mean_a**2 + bb - mean_b**2 + c2))).mean()


def hyper_laplacian(image: Float[Tensor, "1 c h w"], low_values: int) -> Float[Tensor, ""]:
    """R(x) of DKP: 2e-4 times the sum over four directions of (|x(p) - x(p + d)| + 1e-8)^0.67, over `low_values`.

    Args:
        low_values: number of values of the low-resolution image: DKP divides by it, not by the image's own number.
    """
    pairs = (
        image[..., 1:, :] - image[..., :-1, :],
        image[..., :, 1:] - image[..., :, :-1],
        image[..., 1:, 1:] - image[..., :-1, :-1],
        image[..., 1:, :-1] - image[..., :-1, 1:],
    )
    total = torch.stack([((pair.abs() + 1e-8) ** 0.67).sum() for pair in pairs]).sum()
    return 2e-4 * total / low_values


def mirrored_laplacian(image: Float[Tensor, "1 c h w"], low_values: int) -> Float[Tensor, ""]:
    """R(x) as DKP's program has it: `hyper_laplacian` with differences over the border too, where the image mirrors."""
    height, width = image.shape[-2:]
    padded = fixed_order.reflect(image, 1)
    total = image.new_zeros(())
    for down, right in ((0, 1), (0, 0), (1, 0), (2, 0)):  # above, above left, left, below left
        other = padded[..., down : down + height, right : right + width]
        total = total + (((image - other).abs() + 1e-8) ** 0.67).sum()
    return 2e-4 * total / low_values


def divergence(target: Float[Tensor, "1 k k"], kernel: Float[Tensor, "1 k k"]) -> Float[Tensor, ""]:
    """KL(target || kernel): before a softmax its gradient is kernel - target, well scaled for any size."""
    return (target * ((target + 1e-12).log() - (kernel + 1e-12).log())).sum()

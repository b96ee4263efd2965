"""Photographs made periodic so that their blur is, too: what networks that work on spectra need.

USRNet's data step inverts a periodic blur exactly. Pixels that merely lead from an image's end to its beginning
(`borders.join_ends`) were never blurred by that kernel, and what the inverse makes of them rings through the image,
which costs 6 dB at straight motion. Here they are the most likely ones under the kernel. A sharp photograph is taken
for a Gaussian process whose power falls as |f|^-FALL; blurred, decimated and on a torus it has the folded spectrum

    S(f) = c sum over aliases of |f_a|^-FALL |K(f_a)|^2 + noise^2

and the unseen pixels z have, given the seen ones, the mean that minimises y' C^-1 y over z, C the covariance with that
spectrum: the very energy that an inverse of the blur amplifies. Conjugate gradients, preconditioned by C, at the
low-resolution image's size.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.degradation.borders import join_ends

FALL = 2.0  # of a photograph's power; chosen on training photographs (BSD400), as the two below
LEAST_NOISE = 1 / 255  # standard deviation; less makes the problem harder to solve and no image better
STEPS = 60  # of conjugate gradients; twice as many gain 0.1 dB on long straight motion, nothing elsewhere


def complete_ends(
    low: Float[Tensor, "b c h w"], kernel: Float[Tensor, "n k k"], scale: int, *, noise: float
) -> Float[Tensor, "b c h2 w2"]:
    """Add rows below and columns on the right so that the image can be a periodic one, blurred and decimated.

    Args:
        low: range [0, 1].
        kernel: the blur under direct decimation, a correlation about its middle tap; one, or one for each image.
        scale: of the decimation.
        noise: standard deviation, range [0, 1].
    """
    height, width = low.shape[-2:]
    room = -(-kernel.shape[-1] // scale) + 2
    seen = join_ends(low, [min(room, extent) for extent in (height, width)], fade="linear")
    mean = low.mean(dim=(-2, -1), keepdim=True)
    start = seen - mean
    unseen = torch.ones_like(start[:1, :1])
    unseen[..., :height, :width] = 0
    power = _spectrum(start, kernel, scale, noise)
    return _most_likely(start, unseen, power) + mean


def _spectrum(image: Float[Tensor, "b c h w"], kernel: Float[Tensor, "n k k"], scale: int, noise: float) -> Tensor:
    """S at the non-negative frequencies of the columns; c so that it has the image's variance."""
    height, width = image.shape[-2:]
    size = scale * height, scale * width
    gain = torch.fft.fft2(_wrapped(kernel.to(image), size)).abs().square()
    rows, columns = (torch.fft.fftfreq(extent, device=image.device) * 2 * math.pi for extent in size)
    square = rows[:, None] ** 2 + columns**2
    square[0, 0] = (2 * math.pi / max(size)) ** 2  # of the mean, which is known
    folded = (gain * square.pow(-FALL / 2)).view(-1, 1, scale, height, scale, width).sum(dim=(2, 4))
    folded[..., 0, 0] = folded[..., 0, 1]
    level = image.square().mean(dim=(1, 2, 3), keepdim=True) / folded.mean(dim=(1, 2, 3), keepdim=True)
    power = level * folded + max(noise, LEAST_NOISE) ** 2
    return power[..., : width // 2 + 1]


def _wrapped(kernel: Float[Tensor, "n k k"], size: tuple[int, int]) -> Float[Tensor, "n h w"]:
    """On a torus, which may be smaller than the kernel; where it begins does not matter to its gain."""
    for dim, extent in ((-2, size[0]), (-1, size[1])):
        index = torch.arange(kernel.shape[dim], device=kernel.device) % extent
        shape = [*kernel.shape]
        shape[dim] = extent
        kernel = kernel.new_zeros(shape).index_add(dim, index, kernel)
    return kernel


def _most_likely(image: Tensor, unseen: Tensor, power: Tensor) -> Tensor:
    """Lower y' C^-1 y by moving unseen pixels alone; nothing waits for the device."""

    def through(gain: Tensor, field: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(field) * gain, s=field.shape[-2:])

    def product(first: Tensor, second: Tensor) -> Tensor:
        return (first * second).sum(dim=(1, 2, 3), keepdim=True)

    inverse = 1 / power
    downhill = -unseen * through(inverse, image)
    way = unseen * through(power, downhill)
    fall = product(downhill, way)
    for _ in range(STEPS):
        bend = unseen * through(inverse, way)
        step = fall / product(way, bend).clamp_min(1e-30)
        image, downhill = image + step * way, downhill - step * bend
        better = unseen * through(power, downhill)
        before, fall = fall, product(downhill, better)
        way = better + fall / before.clamp_min(1e-30) * way
    return image

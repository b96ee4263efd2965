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

from srfoundry.degradation.aliasing import fold, transfer
from srfoundry.degradation.borders import join_ends, quick_room

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
    least = -(-kernel.shape[-1] // scale) + 2
    seen = join_ends(low, [quick_room(extent, least) for extent in (height, width)], fade="linear")
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
    gain = transfer(kernel.to(image), size).abs().square()[:, None]
    rows, columns = torch.fft.fftfreq(size[0]), torch.fft.rfftfreq(size[1])
    square = ((2 * math.pi * rows[:, None]) ** 2 + (2 * math.pi * columns) ** 2).to(image.device)
    square[0, 0] = (2 * math.pi / max(size)) ** 2  # of the mean, which is known
    folded = fold(gain * square.pow(-FALL / 2), scale, width)
    folded[..., 0, 0] = folded[..., 0, 1]
    whole = torch.cat([folded, folded[..., 1 : (width + 1) // 2]], dim=-1)  # both halves, for the mean
    level = image.square().mean(dim=(1, 2, 3), keepdim=True) / whole.mean(dim=(1, 2, 3), keepdim=True)
    return level * folded + max(noise, LEAST_NOISE) ** 2


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

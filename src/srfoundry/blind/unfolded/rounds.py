"""The rounds of unfolded kernel estimation: image, taps, kernel, and again."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.unfolded import closed_forms
from srfoundry.degradation import kernels
from srfoundry.networks.nonblind.unfolded import SIZE, Unfolded

FLOORS = (2 / 255, 10 / 255)  # noise that the closed-form images assume at least
FIRST = 0.7  # variance of the first guess, a round Gaussian, in multiples of the scale, px^2
FITS = ((3e-3, 1e-2, 0.0), (1e-2, 1e-1, 0.0), (1e-2, 3e-2, 1.0))  # ridge, smoothness, and share of the kernel before
NOISE_WEIGHT = 3e5  # by how much noise raises them: its variance over the differences' energy


@dataclass(frozen=True)
class Round:
    """What a round found: the sharp image (deviation 1 of the low-resolution one), and the kernel."""

    sharp: Float[Tensor, "b 1 H W"]
    kernel: Float[Tensor, "b k k"]


def unfolded(
    net: Unfolded, low: Float[Tensor, "b 1 h w"], noise: Float[Tensor, " b"], scale: int, *, rounds: int
) -> Iterator[Round]:
    """Estimate a kernel for each image of a batch, in rounds; gradients stay within a network.

    Args:
        net: the networks.
        low: grey images, range [0, 1].
        noise: standard deviation of each, range [0, 1].
        scale: of the enlargement.
        rounds: how many.
    """
    spread = low.std(dim=(-2, -1), keepdim=True).clamp_min(1e-3)
    seen, level = (low - low.mean(dim=(-2, -1), keepdim=True)) / spread, noise / spread.flatten()
    floors = [(noise.square() + floor**2).sqrt() / spread.flatten() for floor in FLOORS]
    lags = closed_forms.autocorrelations(seen, scale, SIZE)
    kernel = first_guess(len(low), scale).to(low)
    for turn in range(rounds):
        views = closed_forms.wiener(seen, kernel, scale, floors)
        sharp = net.sharpened(seen, views, level, turn=turn)
        # under a training's autocast, too: conjugate gradients in bfloat16 do not solve such equations
        with torch.no_grad(), torch.autocast(low.device.type, enabled=False):
            normal = closed_forms.equations(sharp.float(), seen, scale, SIZE)
            fits = solutions(normal, kernel, level)
        found = net.formed(fits, lags, kernel, level, scale=scale, turn=turn)
        yield Round(sharp * spread, found)
        kernel = found.detach()


def solutions(
    normal: tuple[Float[Tensor, "b n n"], Float[Tensor, "b n"]],
    kernel: Float[Tensor, "b k k"],
    noise: Float[Tensor, " b"],
) -> Float[Tensor, "b f k k"]:
    """The least squares that go into the kernel's network."""
    more = 1 + NOISE_WEIGHT * noise.square() / closed_forms.spread_of(normal[0])
    ridge, smooth, share = torch.tensor(FITS, device=kernel.device).T
    before = share.view(1, -1, 1, 1) * kernel[:, None]
    return closed_forms.least_squares(normal, before, ridge=more[:, None] * ridge, smooth=more[:, None] * smooth)


def first_guess(count: int, scale: int) -> Float[Tensor, "n k k"]:
    """What the first round begins with, for every image the same."""
    variance = torch.full((count,), FIRST * scale)
    return kernels.gaussian(SIZE, variance, variance, torch.zeros(count))

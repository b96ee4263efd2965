"""The width of an uncertain Gaussian kernel, moved towards what the image's own spectrum says.

A blur's width is what is least certain of it, and what an enlargement loses most by: a quarter more variance costs
1.5 dB, a quarter less 0.9. The spectrum sees it (spectral_likelihood.py), wrong by its own,
so the two are weighed by their precisions, as in a Kalman filter's update. The shape, the ratio of the axes and their
angle, stays: photographs are no more alike in all directions than blurs are, so that a spectrum says little of it.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.degradation import kernels
from srfoundry.degradation.observation import Observation
from srfoundry.degradation.settings import SpectrumModel
from srfoundry.degradation.spectral_likelihood import SpectralLikelihood

# Chosen on training photographs (T91 and BSD400, x2). Small tiles of the busiest quarter: where edges are, spectra are
# alike, and most photographs have them.
PHOTOGRAPHS = SpectrumModel(noise=0.0, tile=24, keep=0.25, exponent=(2.4, 0.4), softness=0.2)
# Variance of the spectrum's own error of the logarithm of the variances, times the curvature of its likelihood there, a
# tile: deviations of 0.12 without noise, 0.21 at 5 of 255. It does not fall with the number of tiles, since what is
# wrong is mostly the model, the same in all of an image's tiles.
DOUBT = 2.8
FARTHEST, TRIALS = 0.8, 17  # largest step that is tried, either way, and how many
# Times the kernel's error: a width is moved no farther. The spectrum of a soft photograph asks for far more; of 33
# training photographs whose kernels were wrong by a quarter none ended farther from its true width with this limit.
LIMIT = 4 / 3
LEAST = 32  # low-resolution pixels a side below which a spectrum says nothing
GAUSSIAN = 0.05  # sum of the differences of the taps up to which a kernel counts as the Gaussian of its moments


@dataclass(frozen=True)
class Moved:
    """An observation under the moved kernel.

    Attributes:
        observation: with the kernel that is now believed, and no more error of it.
        factor: of the kernel's variances; 1 where it stayed.
    """

    observation: Observation
    factor: float


def move_width(observation: Observation) -> Moved:
    """Move a kernel's width as far as its error and the spectrum's let it; a certain kernel stays.

    So do one that is no Gaussian, one under bicubic decimation, that of an image too small to have a spectrum, and one
    of which the spectrum asks for more than it is ever wrong by: gratings do.

    Args:
        observation: one image, or windows of one, and its kernel's error.
    """
    certain = replace(observation, kernel_error=0.0)
    kernel, low = observation.kernel, observation.low
    if not observation.kernel_error or kernel is None or observation.decimation != "direct":
        return Moved(certain, 1.0)
    middle = float(kernel.shape[-1] // 2)
    covariance = kernels.covariance(kernel[0].detach().double().cpu(), (middle, middle))
    if min(low.shape[-2:]) < LEAST or float((_gaussian(covariance, kernel.shape[-1]) - kernel.cpu()).abs().sum()) > (
        GAUSSIAN
    ):
        return Moved(certain, 1.0)
    steps = torch.linspace(-FARTHEST, FARTHEST, TRIALS, dtype=torch.float64)
    tried = torch.cat([_gaussian(covariance * math.exp(step), _room(covariance, FARTHEST)) for step in steps.tolist()])
    scores = _scores(observation, tried)
    best = int(scores.argmax())
    if best in (0, TRIALS - 1):
        return Moved(certain, 1.0)
    step = float(steps[1] - steps[0])
    before, here, after = scores[best - 1 : best + 2].tolist()
    curvature = (2 * here - before - after) / step**2
    if curvature <= 0:
        return Moved(certain, 1.0)
    seen = float(steps[best]) + (after - before) / (2 * step * curvature)
    believed = observation.kernel_error**2
    farthest = LIMIT * observation.kernel_error
    factor = math.exp(max(-farthest, min(farthest, seen * believed / (believed + DOUBT / curvature))))
    moved = _gaussian(covariance * factor, max(kernel.shape[-1], _room(covariance * factor, 0.0)))
    return Moved(replace(certain, kernel=moved.to(kernel)), factor)


def _scores(observation: Observation, tried: Float[Tensor, "n k k"]) -> Float[Tensor, " n"]:
    """Log likelihood of each kernel, a tile, over all windows."""
    total, tiles = torch.zeros(len(tried), dtype=torch.float64), 0
    with torch.no_grad():
        for window in observation.low.split(1):
            score = SpectralLikelihood(window, observation.scale, PHOTOGRAPHS, noise=observation.noise)
            total, tiles = total + score(tried.to(window)).cpu(), tiles + len(score.power)
    return total / tiles


def _gaussian(covariance: Float[Tensor, "2 2"], size: int) -> Float[Tensor, "1 k k"]:
    values, axes = torch.linalg.eigh(covariance)
    values = values.clamp_min(1e-2)
    theta = torch.atan2(axes[0, 1], axes[1, 1])  # of the longer axis, from the columns
    return kernels.gaussian(size, values[1:], values[:1], theta[None]).float()


def _room(covariance: Float[Tensor, "2 2"], step: float) -> int:
    """Taps a side, odd, out to three deviations of the kernel when its variances have grown by exp(step)."""
    longest = float(torch.linalg.eigvalsh(covariance)[-1]) ** 0.5
    return 2 * round(3 * longest * math.exp(step / 2)) + 1

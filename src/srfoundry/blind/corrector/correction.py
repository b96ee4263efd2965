"""Kernels corrected by the artefacts that they cause: restore, estimate the kernel's error, correct it, and again.

One image is restored a few times by a non-blind network, each time with a better Gaussian kernel. The error of each is
estimated by a small network (networks/nonblind/corrector.py), trained on photographs that were restored with kernels
that were wrong in known ways. Nothing is learned at test time, and no image is ever compared with its original.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.dkp.families import GaussianPrior
from srfoundry.blind.estimate import BlindObservation, Estimate, Estimator, History, Resources, busiest_window
from srfoundry.blind.nonblind_restoration import make_periodic, trained_size
from srfoundry.blind.settings import Estimation
from srfoundry.core.compute import autocast
from srfoundry.core.errors import FoundryError
from srfoundry.core.state import Log, silent
from srfoundry.degradation.noise_level import known_noise
from srfoundry.degradation.observation import Sampling
from srfoundry.networks.nonblind.corrector import Corrector, features_of, mirrored
from srfoundry.networks.nonblind.usrnet import PeriodicObservation, USRNet

MARGIN = 1.5  # guesses may be so many times narrower or wider than the prior's kernels
ASTRAY = (
    5.0  # deviations that the last correction may be long: photographs of any blur end within 1, gratings at 12 to 15
)
# The network's answer is the mean of what the error may be, which is smaller than the error: so much of it is added.
# 14 photographs (BSD400, x2) behind Gaussians, gain of the restoration in dB: six passes of 1.0 4.62, twelve 4.71; of
# 1.5 six 4.70, four 4.68; four of 1.6, 1.75 and 2.0 4.68, 4.68 and 4.69, but one of six of 2.0 goes astray (a pass runs
# the restorer on the window, which is all that takes time).
FURTHER = 1.6
AVERAGED = 2  # last corrections whose mean is the estimate


@dataclass(frozen=True)
class CorrectionSearch:
    """Which kernels are looked for, and how long.

    Attributes:
        kernel_size: taps a side, odd.
        variances: least and largest of the kernels, in multiples of the scale (px^2).
        passes: corrections, each a run of the restorer.
        look: low-resolution pixels a side that are restored.
        offset: pixels from the middle tap to the kernel's centre, a convention that no image shows.
    """

    kernel_size: int
    variances: tuple[float, float]
    passes: int = 4
    look: int = 128
    offset: float = 0.0

    def prior(self, scale: int) -> GaussianPrior:
        """The kernels that may be found."""
        low, high = (value * scale for value in self.variances)
        return GaussianPrior(self.kernel_size, low, high, self.offset)


def estimate_kernel_by_corrections(
    low: Float[Tensor, "1 3 h w"],
    sampling: Sampling,
    search: CorrectionSearch,
    *,
    restorer: USRNet,
    corrector: Corrector,
    noise: float | None = None,
    precision: str = "auto",
    log: Log = silent,
) -> Estimate:
    """Estimate the Gaussian blur kernel of `low` from `low` alone; nothing in it is random.

    Where the corrections have not come to an end, the image is of a kind that the corrector never met, gratings above
    all: it asks for much more and is sure of it. Then the kernel is the middle of the prior.

    Args:
        low: observed image, range [0, 1].
        sampling: its scale and border; `circular` only for images that were blurred periodically and are seen whole.
        restorer, corrector: that have been trained together, on one device.
        noise: standard deviation of the noise of `low`; estimated if not given.
        precision: of the restorer's convolutions.
        log: takes, after each pass, the length of the correction and its standard deviation.

    Returns:
        the kernel, the window that was looked at, and a row for each pass; no image.

    Raises:
        FoundryError: the image is too small.
    """
    device, scale = next(restorer.parameters()).device, sampling.scale
    if min(low.shape[-2:]) < 8:
        got = f"{low.shape[-2]}x{low.shape[-1]}"
        raise FoundryError(f"image of {got} is too small to estimate a kernel from; give 8x8 pixels or more")
    level = known_noise(low) if noise is None else noise
    window, box = busiest_window(low, search.look)
    seen = window.float().to(device)
    whole = seen.shape == low.shape and sampling.border == "circular"
    prior = search.prior(scale)
    middle = math.log(math.sqrt(prior.low * prior.high))
    shape = torch.tensor([[middle, 0.0, middle]], dtype=torch.float64)
    levels = torch.tensor([level], device=device)
    shapes: list[Tensor] = []
    history = History(log)
    for number in range(search.passes):
        kernel = trial_kernels(shape, prior).to(device)
        features = trial_features(
            restorer, seen, kernel, shape, levels, scale=scale, periodic=whole, precision=precision
        )
        mean, certainty = posterior(corrector, features)
        shape = prior.clip(shape + FURTHER * mean.double().cpu())
        shapes.append(shape)
        history.add(number, {"correction": float(mean.norm()), "deviation": float((-certainty / 2).exp().norm())})
    found = torch.stack(shapes[-AVERAGED:]).mean(dim=0)
    last = history.rows[-1]
    if search.passes > 1 and last["correction"] > ASTRAY * last["deviation"]:
        found = prior.clip(torch.tensor([[middle, 0.0, middle]], dtype=torch.float64))
    kernel = prior.kernels(found).float()
    return Estimate(kernel.to(low.device), None, box, history.rows)


@torch.inference_mode()
def posterior(
    corrector: Corrector, features: Float[Tensor, "b n"]
) -> tuple[Float[Tensor, "b 3"], Float[Tensor, "b 3"]]:
    """Mean and log precision of the kernel's error, over the mirror images of a restored image."""
    means, certainties = [], []
    for transposed in (False, True):
        for flipped in (False, True):
            turned, signs, order = mirrored(features, transposed=transposed, flipped=flipped)
            mean, certainty = corrector(turned)
            means.append((mean * signs)[:, order])
            certainties.append(certainty[:, order])
    return torch.stack(means).mean(dim=0), torch.stack(certainties).mean(dim=0)


def trial_kernels(shape: Float[Tensor, "b 3"], prior: GaussianPrior) -> Float[Tensor, "b k k"]:
    """Kernels of these shapes, brought into the range that may be tried."""
    wider = prior.widened(MARGIN)
    return wider.kernels(wider.clip(shape)).float()


@torch.inference_mode()
def trial_features(
    restorer: USRNet,
    low: Float[Tensor, "b 3 h w"],
    kernel: Float[Tensor, "b k k"],
    shape: Float[Tensor, "b 3"],
    noise: Float[Tensor, " b"],
    *,
    scale: int,
    periodic: bool,
    precision: str,
) -> Float[Tensor, "b n"]:
    """Restore images with trial kernels of these shapes, and return the corrector's input."""
    height, width = low.shape[-2:]
    seen = low if periodic else make_periodic(low, kernel.shape[-1], scale)
    with autocast(low.device, precision):
        restored = restorer(seen, kernel, scale, noise).float()
    again = PeriodicObservation(seen, kernel, scale).reduce(restored.clamp(0, 1))[..., :height, :width]
    return features_of(
        restored[..., : scale * height, : scale * width], again - low, shape.to(low.device), noise, scale
    )


def estimate_fast(
    observation: BlindObservation, settings: Estimation, resources: Resources, *, rng: torch.Generator, log: Log
) -> Estimate:
    """The corrections with the values of params.yaml; `rng` is not used.

    Raises:
        FoundryError: the image is too small.
    """
    assert resources.networks is not None
    noise = observation.noise
    search = CorrectionSearch(
        FAST.kernel_size(settings, resources, observation.scale),
        settings.prior.variances,
        settings.turns.passes,
        settings.windows.look,
    )
    return estimate_kernel_by_corrections(
        observation.low,
        observation.sampling,
        search,
        restorer=resources.networks.restorer,
        corrector=resources.networks.corrector,
        noise=(settings.spectrum.noise or None) if noise is None else noise,
        precision=resources.networks.compute.precision,
        log=log,
    )


FAST = Estimator(
    function=estimate_fast,
    iterations=lambda settings: settings.turns.passes,
    kernel_size=lambda settings, resources, scale: max(settings.prior.kernel_size, trained_size(scale)),
    trained=True,
)

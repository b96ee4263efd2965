"""The method auto: what happened to an image is weighed first, then the estimator that fits is asked for a kernel."""

import dataclasses
import math

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.auto.deciding import decide, hardly_blurred
from srfoundry.blind.auto.evidence import LEAST, weigh
from srfoundry.blind.auto.histories import SIZE
from srfoundry.blind.auto.reductions import antialiasing, sized
from srfoundry.blind.corrector.correction import FAST
from srfoundry.blind.dkp.sampled import estimate_in_family
from srfoundry.blind.estimate import BlindObservation, Estimate, Estimator, History, Resources
from srfoundry.blind.motion_deblur.freeform import FREE
from srfoundry.blind.settings import Estimation
from srfoundry.core.errors import FoundryError
from srfoundry.core.state import Log
from srfoundry.degradation import kernels

# In multiples of the scale, px. The Gaussian that explains a thumbnail is narrower nine times out of ten; chosen on
# training photographs (BSD400, x2).
NARROW = 0.45


def estimate_auto(
    observation: BlindObservation, settings: Estimation, resources: Resources, *, rng: torch.Generator, log: Log
) -> Estimate:
    """Weigh the evidence and estimate the kernel; of a sharp image it is the reduction's.

    An image that is too small to show anything is taken for one behind a Gaussian.

    Raises:
        FoundryError: the image is too small for any kernel, or the classifier is missing.
    """
    low, scale = observation.low, observation.scale
    size = AUTO.kernel_size(settings, resources, scale)
    if min(low.shape[-2:]) < LEAST:
        found = FAST(observation, settings, resources, rng=rng, log=log)
        return dataclasses.replace(found, kernel=sized(found.kernel, size))
    assert resources.networks is not None
    classifier = resources.networks.classifier
    if classifier is None:
        raise FoundryError(
            "models/classifier.safetensors not found, which estimate.method auto needs; run 'dvc repro nonblind'"
        )
    noise = settings.spectrum.noise or None if observation.noise is None else observation.noise
    evidence = weigh(low, scale, classifier, noise=noise)
    decision, history, form = decide(evidence, scale, insist=observation.insist)
    if not decision.restore:
        kernel = antialiasing("bicubic", scale) if history == "reduced" else torch.ones(1, 1, 1)
        return Estimate(
            sized(kernel, size).to(low), None, (0, 0, low.shape[-2], low.shape[-1]), History(log).rows, decision
        )
    seen = dataclasses.replace(observation, noise=decision.noise)
    if form == "gaussian":
        found = FAST(seen, settings, resources, rng=rng, log=log)
    elif history in ("line", "disc"):  # their few numbers are all in the spectrum
        found = estimate_in_family(seen, settings, history, rng=rng, log=log)
    else:
        roomy = dataclasses.replace(settings.prior, kernel_size=max(SIZE, settings.prior.kernel_size))
        found = FREE(seen, dataclasses.replace(settings, prior=roomy), resources, rng=rng, log=log)
    kernel = sized(found.kernel, size)
    if not observation.insist and deviation(kernel) < NARROW * scale:
        return dataclasses.replace(found, kernel=kernel, decision=hardly_blurred(decision, scale))
    if decision.phase:
        kernel = kernels.centred(kernel.cpu(), decision.phase).to(kernel)
    return dataclasses.replace(found, kernel=kernel, decision=decision)


def deviation(kernel: Float[Tensor, "1 k k"]) -> float:
    """Of a kernel's places around its centre, one axis with the other, px."""
    axis = torch.arange(kernel.shape[-1], dtype=torch.float64)
    taps = kernel[0].double().cpu().clamp_min(0)
    taps = taps / taps.sum()
    variances = []
    for line in (taps.sum(dim=0), taps.sum(dim=1)):
        middle = (line * axis).sum()
        variances.append(float((line * (axis - middle) ** 2).sum()))
    return math.sqrt(sum(variances) / 2)


def _size(settings: Estimation, resources: Resources, scale: int) -> int:
    """Room for the estimators' kernels, moved by half a block, and for every antialiasing."""
    moved = max(SIZE, FAST.kernel_size(settings, resources, scale)) + 2 * (scale // 2 + 1)
    return max(moved, antialiasing("lanczos", scale).shape[-1])


AUTO = Estimator(
    function=estimate_auto,
    iterations=lambda settings: settings.turns.passes,
    kernel_size=_size,
    trained=True,
)

"""The method auto: what happened to an image is weighed first, then the estimator that fits is asked for a kernel."""

import dataclasses
import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.auto.contest import Contest, calm
from srfoundry.blind.auto.contrast import Contrast
from srfoundry.blind.auto.deciding import DOUBTED, ROUND, WORDS, decide, hardly_blurred
from srfoundry.blind.auto.evidence import LEAST, weigh
from srfoundry.blind.auto.forms import Explanations
from srfoundry.blind.auto.histories import FREE, SIZE
from srfoundry.blind.auto.milder import hedge
from srfoundry.blind.corrector.correction import FAST
from srfoundry.blind.dkp.sampled import estimate_in_family
from srfoundry.blind.estimate import BlindObservation, Estimate, Estimator, History, Promising, Resources, always
from srfoundry.blind.motion_deblur.estimation import estimate_by_edges
from srfoundry.blind.motion_deblur.rim import least_side
from srfoundry.blind.nonblind_restoration import trained_size
from srfoundry.blind.settings import Estimation
from srfoundry.core.errors import FoundryError
from srfoundry.core.state import Log
from srfoundry.degradation import kernels
from srfoundry.degradation.reductions import antialiasing, sized
from srfoundry.networks.nonblind.usrnet import USRNet

# In multiples of the scale, px. The Gaussian that explains a thumbnail is narrower nine times out of ten; chosen on
# training photographs (BSD400, x2).
NARROW, DOUBTFUL = 0.45, 0.55  # the second where it is not sure that the image is blurred
# The same at larger scales, sure or not, of Gaussians and discs (lines are longer, and a blur before a reduction is
# wider than that); means of blocks have 0.29. Of training photographs by 3 and 4, none of them surely blurred: seven
# such blurs of 0.36 to 0.52 gain 0.4 to 1.4 dB over the enlargement when restored; of two thumbnails one of 0.48
# loses 0.6, and one of 0.21 stays enlarged.
LARGER = 0.3
NUMBERED = ("line", "disc")  # few numbers say all of such a blur, and the spectrum shows them


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
    if min(low.shape[-2:]) < least_pixels(settings, scale):
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
    evidence = dataclasses.replace(evidence, decimation=observation.decimated).settled
    decision, history = decide(evidence, scale, insist=observation.insist)
    if not decision.restore:
        kernel = torch.ones(1, 1, 1) if history == "decimated" else antialiasing("bicubic", scale)
        return Estimate(
            sized(kernel, size).to(low), None, (0, 0, low.shape[-2], low.shape[-1]), History(log).rows, decision
        )
    # What is enlarged goes by what its pixels show: of WebP 80, which shows nothing, 12 thumbnails (BSD400, x2) gain
    # 0.57 dB so, and 0.2 to 0.3 as JPEGs; 12 images behind lines gain 0.37 as if nothing were lost, and 1.38 as JPEGs.
    evidence = evidence.packed(observation.quality)
    decision, history = decide(evidence, scale, insist=observation.insist)
    seen = _stretched(observation, decision.noise)
    suspected = evidence.chance(FREE)
    explanations = None  # a JPEG file's steps hide what a spectrum says
    if decision.quality is None:
        explanations = Explanations.of(seen, settings.spectrum)
        evidence = explanations.supported(evidence).settled
        decision, history = decide(evidence, scale, insist=observation.insist)
    net = resources.networks.restorer

    def find(form: str, promising: Promising = always) -> Estimate:
        estimate = _found(seen, settings, resources, form, net=net, promising=promising, rng=rng, log=log)
        if explanations is None or form not in NUMBERED:
            return estimate
        return dataclasses.replace(estimate, kernel=explanations.better(estimate.kernel, form))

    def thin(form: str, estimate: Estimate) -> bool:
        return narrow(estimate.kernel, scale, decision.chance, form)

    found, other = find(history), history
    contest = None  # of that kernel with others
    if explanations is not None and history != FREE and decision.chance >= DOUBTED and calm(low, decision.noise):
        contest = Contest(seen, evidence, explanations, net, size, suspected)
    if not observation.insist and thin(history, found):
        shaken = None if contest is None else shaken_after_all(contest.explanations, find, scale)
        if shaken is None:
            kernel = sized(found.kernel, size)
            return dataclasses.replace(found, kernel=kernel, decision=hardly_blurred(decision, evidence, scale, kernel))
        found, other = shaken, FREE
    elif contest is not None:
        held = contest.winner(history, found, find, thin)
        found, other = held.found, held.history
    if other != history:
        history = other
        decision = dataclasses.replace(decision, seen=WORDS[history], phase=evidence.phase(history, scale))
    kernel = sized(found.kernel, size)
    if decision.phase:
        kernel = kernels.centred(kernel.cpu(), decision.phase).to(kernel)
    if observation.insist:
        return dataclasses.replace(found, kernel=kernel, decision=decision)
    decision = hedge(
        decision, found, history, placed=kernel, observation=seen, evidence=evidence, explanations=explanations
    )
    return dataclasses.replace(found, kernel=kernel, decision=decision)


def least_pixels(settings: Estimation, scale: int) -> int:
    """Pixels a side below which an image shows nothing of its history, or no kernel of free form can be found in it."""
    return max(LEAST, least_side(max(_free_size(settings), trained_size(scale)), scale))


def _stretched(observation: BlindObservation, noise: float) -> BlindObservation:
    """What the kernel is found from: the image with the contrast that photographs have, directly decimated.

    Kernels are moved to where pixels lie at the end. Rounding that is stretched does not count as noise: of six dark
    images behind camera shake (BSD400, x2) the gain is 2.3 dB if it does, 3.5 if not.

    Args:
        observation: the image.
        noise: of it, range [0, 1].
    """
    contrast = Contrast.of(observation.low)
    return dataclasses.replace(
        observation, low=contrast.stretched(observation.low), noise=contrast.gain * noise, decimated=None
    )


def _found(
    observation: BlindObservation,
    settings: Estimation,
    resources: Resources,
    history: str,
    *,
    net: USRNet,
    promising: Promising,
    rng: torch.Generator,
    log: Log,
) -> Estimate:
    """What the estimator that fits a history finds; a rough kernel of free form, or line, that is not promising."""
    if history in ROUND:
        return FAST(observation, settings, resources, rng=rng, log=log)
    if history in NUMBERED:
        return estimate_in_family(observation, settings, history, promising=promising, rng=rng, log=log)
    prior = dataclasses.replace(settings.prior, kernel_size=_free_size(settings))
    settings = dataclasses.replace(settings, prior=prior)
    step = None if resources.networks is None else resources.networks.kernel_step
    return estimate_by_edges(observation, settings, net=net, step=step, promising=promising, rng=rng, log=log)


def _free_size(settings: Estimation) -> int:
    """Taps a side of kernels of free form."""
    return max(SIZE, settings.prior.kernel_size)


def shaken_after_all(explanations: Explanations, find: Callable[..., Estimate], scale: int) -> Estimate | None:
    """A kernel of free form for what is surely blurred, by a kernel that is none; None where it says no more than that.

    Of a shake that rests in one place for long the Gaussian is narrow, and no random one comes near. Of 414 images of
    BSD400 behind camera shake, x2, three are found so (in the mean 0.0 dB over bicubic before, 4.8 with it); of 450
    thumbnails, most of them softened, none is taken for shaken. At larger scales hardly an image asks for it, so that
    it is not known to be right, and a thumbnail has been taken for shaken.
    """
    if scale > 2:
        return None

    def leads(estimate: Estimate) -> bool:
        return explanations.shaken(estimate.kernel)

    estimate = find(FREE, leads)
    return estimate if leads(estimate) and not narrow(estimate.kernel, scale, 0.0, FREE) else None


def narrow(kernel: Float[Tensor, "1 k k"], scale: int, chance: float, history: str) -> bool:
    """Whether a kernel is one that explains images which were only reduced.

    Args:
        kernel: that was found.
        scale: by which the image was reduced.
        chance: that it is blurred.
        history: that the kernel was looked for under.
    """
    believed = scale > 2 and history in ("gaussian", "disc")
    width = LARGER if believed else NARROW if chance >= DOUBTED else DOUBTFUL
    return deviation(kernel) < width * scale


def deviation(kernel: Float[Tensor, "1 k k"]) -> float:
    """Of a kernel's places around its centre along its longer axis, px."""
    taps = kernel[0].double().cpu().clamp_min(0)
    taps = taps / taps.sum()
    axis = torch.arange(len(taps), dtype=torch.float64)
    centre = [(taps.sum(dim=along) * axis).sum() for along in (1, 0)]
    return math.sqrt(max(0.0, float(torch.linalg.eigvalsh(kernels.covariance(taps, centre))[-1])))


def _size(settings: Estimation, resources: Resources, scale: int) -> int:
    """Room for the estimators' kernels, moved by half a block, and for every antialiasing."""
    moved = max(SIZE, FAST.kernel_size(settings, resources, scale)) + 2 * (scale // 2 + 1)
    return max(moved, antialiasing("lanczos", scale).shape[-1])


AUTO = Estimator(
    function=estimate_auto,
    iterations=lambda settings: settings.turns.passes,
    kernel_size=_size,
    trained=True,
    decides=True,
)

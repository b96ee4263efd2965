"""The method auto: what happened to an image is weighed first, then the estimator that fits is asked for a kernel."""

import dataclasses
import math

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind import guard
from srfoundry.blind.auto import histories
from srfoundry.blind.auto.contest import Contest
from srfoundry.blind.auto.deciding import ROUND, WORDS, decide, hardly_blurred, mixture
from srfoundry.blind.auto.evidence import LEAST, Evidence, weigh
from srfoundry.blind.auto.forms import Explanations
from srfoundry.blind.auto.histories import SIZE
from srfoundry.blind.auto.reductions import antialiasing, sized
from srfoundry.blind.corrector.correction import FAST
from srfoundry.blind.decision import Candidates, Decision
from srfoundry.blind.dkp.sampled import estimate_in_family
from srfoundry.blind.estimate import BlindObservation, Estimate, Estimator, History, Resources
from srfoundry.blind.motion_deblur.estimation import Promising, always, estimate_by_edges
from srfoundry.blind.settings import Estimation
from srfoundry.core.errors import FoundryError
from srfoundry.core.state import Log
from srfoundry.degradation import kernels
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
DOUBTED = 0.96  # chance of blur below which the restoration is the mean over what may have happened
MILD = 0.5  # weight of a round kernel beside one of free form, in their linear mean
# And of that mean in the result, at least; under noise and JPEG, which mislead free forms, it counts alone. Camera
# shake of twenty training photographs, x2, published USRNet, gain in dB, mean (worst): the kernel alone 3.5 (-1.3),
# with 0.1 of the mean 3.4 (-0.8), 0.2 of it 3.3 (-0.4), 0.3 of it 3.2 (-0.1), 0.4 of it 2.9 (-0.1), the mean alone 1.0
# (-0.1).
CAREFUL = 0.2
# Weight of the linear enlargement beside the restorer's, of what was a JPEG file, whose errors are no white noise; and
# of cubic interpolation in that, below a quality. 54 training photographs behind a JPEG of quality 60 to 95, published
# USRNet, gain in dB, mean (worst), made worse: the restorer alone 0.8 (-2.3), 14; the linear one alone 1.1 (-1.0), 1;
# as here 1.4 (-0.9), 1.
PACKED, PLAIN, CLOSE = 0.6, 1 / 3, 90
# Weight in the mean over what may have happened, at least, of not being blurred: sharpening a thumbnail costs more than
# a soft image. A JPEG file hides how sharp it was: there a second weight, below that chance of blur, with cubic
# interpolation beside it. 47 images of training photographs (half of them softened, x2) that were such files and are
# thought blurred, but not surely, gain in dB, mean (worst), made worse: 35 thumbnails by the first weight -0.8 (-1.9),
# 34, as here 0.0 (-1.6), 6; twelve behind Gaussians 0.2 (-0.2), 1, and 0.0 (-0.5), 5.
HEAVY, FILED, FAIRLY = 0.5, 0.9, 0.9
# Low-resolution pixels for each tap of a free form. Of fewer it is worse than nothing, and the mean counts alone; of
# more, that has less and less weight. Camera shake of eight to twelve training photographs, linear enlargement, gain in
# dB, mean (worst), by the kernel alone and by the mean: 5 pixels a tap (x2) -3.2 (-9.8) and -0.1 (-1.5), 3 (x4) -0.4
# (-1.8) and +0.1 (-0.2), 17 (x2) +0.7 (-1.7) and +0.5 (-0.2), 0.4 of it +1.1 (-0.8).
ENOUGH = 8.0
# Chance that an image of so few pixels which is taken for shaken is sharp (14 photographs by 4), and one whose kernel
# is not believed: thumbnails of soft photographs are among these, and would lose most (one 12 dB, so 6).
MISTAKEN = 0.25
# Nats a tile by which a kernel may explain the spectrum worse than the best of the random ones. Of 210 restorations of
# training photographs (BSD400 and T91, x2, the classifier had learned others) with kernels of a family 11 were beyond
# it, 9 of which lost 0.2 to 11.7 dB; of those up to it one in nine is worse than bicubic.
UNEXPLAINED = 150.0


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
    decision, history = decide(evidence, scale, insist=observation.insist)
    if not decision.restore:
        kernel = torch.ones(1, 1, 1) if history == "decimated" else antialiasing("bicubic", scale)
        return Estimate(
            sized(kernel, size).to(low), None, (0, 0, low.shape[-2], low.shape[-1]), History(log).rows, decision
        )
    seen = dataclasses.replace(observation, noise=decision.noise)
    damaged = decision.quality is not None or decision.noise > guard.NOISY
    explanations = None  # a JPEG file's steps hide what a spectrum says
    if decision.quality is None:
        explanations = Explanations.of(seen, settings.spectrum)
        evidence = explanations.supported(evidence)
        decision, history = decide(evidence, scale, insist=observation.insist)
    net = None if damaged else resources.networks.restorer

    def find(form: str, promising: Promising = always) -> Estimate:
        estimate = _found(seen, settings, resources, form, net=net, promising=promising, rng=rng, log=log)
        if explanations is None or form not in NUMBERED:
            return estimate
        return dataclasses.replace(estimate, kernel=explanations.better(estimate.kernel, form))

    def thin(form: str, estimate: Estimate) -> bool:
        return narrow(estimate.kernel, scale, decision.chance, form)

    found = find(history)
    if not observation.insist and thin(history, found):
        kernel = sized(found.kernel, size)
        return dataclasses.replace(found, kernel=kernel, decision=hardly_blurred(decision, evidence, scale, kernel))
    if explanations is not None and net is not None and history != "shake" and decision.chance >= DOUBTED:
        held = Contest(seen, evidence, explanations, net, size).winner(history, found, find, thin)
        if held.history != history:
            found, history = held.found, held.history
            decision = dataclasses.replace(decision, seen=WORDS[history], phase=histories.phase(history, scale))
    kernel = sized(found.kernel, size)
    if decision.phase:
        kernel = kernels.centred(kernel.cpu(), decision.phase).to(kernel)
    if observation.insist:
        return dataclasses.replace(found, kernel=kernel, decision=decision)
    free = history == "shake"
    if free:
        pixels = math.prod(found.box[2:]) / found.kernel.shape[-1] ** 2
        milder = beside(evidence, seen, kernel, decision.phase, pixels=pixels, damaged=damaged)
        decision = dataclasses.replace(decision, candidates=milder)
    elif decision.quality is not None:
        plain = PLAIN if decision.quality < CLOSE else 0.0
        milder = Candidates(kernel.float().cpu(), torch.ones(1), weight=PACKED, plain=plain)
        decision = dataclasses.replace(decision, candidates=milder)
    if decision.chance < DOUBTED:
        decision = dataclasses.replace(decision, candidates=doubted(evidence, kernel, scale, decision.chance))
    if explanations is not None:
        judged = None if free else found.kernel
        decision = unless_unexplained(decision, evidence, explanations, judged, history, scale)
    return dataclasses.replace(found, kernel=kernel, decision=decision)


def _found(
    observation: BlindObservation,
    settings: Estimation,
    resources: Resources,
    history: str,
    *,
    net: USRNet | None,
    promising: Promising,
    rng: torch.Generator,
    log: Log,
) -> Estimate:
    """What the estimator that fits a history finds; of free form a rough kernel where that is not promising."""
    if history in ROUND:
        return FAST(observation, settings, resources, rng=rng, log=log)
    if history in NUMBERED:
        return estimate_in_family(observation, settings, history, rng=rng, log=log)
    prior = dataclasses.replace(settings.prior, kernel_size=max(SIZE, settings.prior.kernel_size))
    settings = dataclasses.replace(settings, prior=prior)
    return estimate_by_edges(observation, settings, net=net, promising=promising, rng=rng, log=log)


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
    rows, columns = taps.sum(dim=1), taps.sum(dim=0)
    down, across = axis - (rows * axis).sum(), axis - (columns * axis).sum()
    mixed = (taps * down[:, None] * across).sum()
    covariance = torch.stack([(rows * down**2).sum(), mixed, mixed, (columns * across**2).sum()]).view(2, 2)
    return math.sqrt(max(0.0, float(torch.linalg.eigvalsh(covariance)[-1])))


def beside(
    evidence: Evidence,
    observation: BlindObservation,
    kernel: Float[Tensor, "1 k k"],
    phase: float,
    *,
    pixels: float,
    damaged: bool,
) -> Candidates:
    """What counts beside a kernel of free form, or in place of it.

    Args:
        evidence: of the image.
        observation: the image, with its noise.
        kernel: that was found for it.
        phase: high-resolution pixels from a low-resolution pixel's place to the centre of its block.
        pixels: of the observation for each tap.
        damaged: it has noise, or was a JPEG file.
    """
    milder = hedged(observation, kernel, phase)
    if pixels < ENOUGH:
        return possible(evidence, milder.kernels, observation.scale, least=MISTAKEN)
    return milder if damaged else dataclasses.replace(milder, weight=max(CAREFUL, ENOUGH / pixels))


def unless_unexplained(
    decision: Decision,
    evidence: Evidence,
    explanations: Explanations,
    kernel: Float[Tensor, "1 k k"] | None,
    history: str,
    scale: int,
) -> Decision:
    """The decision to restore, with what takes the restoration's place if its kernel turns out not to be believed.

    Args:
        decision: to restore the image.
        evidence: of it.
        explanations: of its spectrum.
        kernel: that was found for it; None of free form, which is too rough to explain a spectrum, right or wrong, and
            has a milder one beside it.
        history: that it was looked for under.
        scale: by which the image was reduced.
    """
    likely, chances = explanations.likely()
    instead = possible(evidence, likely, scale, least=MISTAKEN, among=chances)
    if kernel is not None and explanations.shortfall(kernel) > UNEXPLAINED:
        why = ", since the kernel that was found explains its spectrum worse than random ones do"
        return dataclasses.replace(decision, candidates=dataclasses.replace(instead, why=why))
    if history == "disc":  # one number, hardly ever wrong; its restorations may be as busy as what rings
        return decision
    return dataclasses.replace(decision, instead=instead)


def hedged(observation: BlindObservation, kernel: Float[Tensor, "1 k k"], phase: float) -> Candidates:
    """A kernel of free form, and the round one that explains the spectrum best, which is milder and seldom far off.

    Args:
        observation: the image, with its noise.
        kernel: that was found for it.
        phase: high-resolution pixels from a low-resolution pixel's place to the centre of its block.
    """
    width = guard.apparent_width(observation.low, observation.scale, noise=observation.noise or 0.0)
    variance = torch.tensor([(width * observation.scale) ** 2])
    size = kernel.shape[-1]
    around = kernels.gaussian(size, variance, variance, torch.zeros(1)).float()
    both = torch.cat([kernel.float().cpu(), kernels.centred(around, phase) if phase else around])
    return Candidates(both, torch.tensor([1 - MILD, MILD]))


def possible(
    evidence: Evidence,
    blurs: Float[Tensor, "n k k"],
    scale: int,
    *,
    least: float = HEAVY,
    among: Float[Tensor, " n"] | None = None,
) -> Candidates:
    """What may have made an image of which nobody is sure: each reduction, none, or the kernels that were found.

    Args:
        evidence: of the image.
        blurs: what was found, if it is blurred.
        scale: by which it was reduced.
        least: chance that it is not blurred, at least.
        among: how likely each blur is among them, sum 1; one as likely as the other if not given.
    """
    reduction, area, decimation = (evidence.chance(name) for name in histories.SHARP)
    sharp = max(reduction + area + decimation, 1e-9)
    blurred = 1 - max(sharp, least)
    return mixture(evidence, scale, decimated=decimation / sharp, blurs=blurs, blurred=blurred, among=among)


def doubted(evidence: Evidence, kernel: Float[Tensor, "1 k k"], scale: int, chance: float) -> Candidates:
    """What may have made an image that is thought blurred, but not surely.

    Args:
        evidence: of the image.
        kernel: that was found for it.
        scale: by which it was reduced.
        chance: that it is blurred.
    """
    if evidence.quality is None or chance >= FAIRLY:
        return possible(evidence, kernel, scale)
    return dataclasses.replace(possible(evidence, kernel, scale, least=FILED), plain=PLAIN)


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

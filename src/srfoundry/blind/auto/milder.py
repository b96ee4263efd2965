"""What counts beside a kernel that was found, or in its place: milder ones, where it may be wrong."""

import dataclasses
import math

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind import guard
from srfoundry.blind.auto import histories
from srfoundry.blind.auto.deciding import DOUBTED, mixture
from srfoundry.blind.auto.evidence import Evidence
from srfoundry.blind.auto.forms import Explanations
from srfoundry.blind.decision import Candidates, Decision
from srfoundry.blind.estimate import BlindObservation, Estimate
from srfoundry.degradation import kernels

MILD = 0.5  # weight of a round kernel beside one of free form, in their linear mean
# And of that mean in the result, at least; the second of what was a JPEG file. Camera shake of twenty training
# photographs, x2, published USRNet, gain in dB, mean (worst): the kernel alone 3.5 (-1.3), with 0.1 of the mean 3.4
# (-0.8), 0.2 of it 3.3 (-0.4), 0.3 of it 3.2 (-0.1), 0.4 of it 2.9 (-0.1), the mean alone 1.0 (-0.1). Ten JPEGs of
# quality 85, MZSR: 0.2 of it 1.0 (-1.7), 0.4 0.9 (-1.0), 0.6 0.8 (-0.4), the mean alone 0.4 (0.1); six with USRNet,
# fused: 2.2, 2.05, 1.8 and 1.6 (0.0 all). Under noise of 2 of 255, nine, MZSR: 0.2 1.6 (0.3), the mean alone 1.0 (0.1).
CAREFUL, WARY = 0.2, 0.4
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


def hedge(
    decision: Decision,
    found: Estimate,
    history: str,
    *,
    placed: Float[Tensor, "1 k k"],
    observation: BlindObservation,
    evidence: Evidence,
    explanations: Explanations | None,
) -> Decision:
    """The decision to restore, with what counts beside the kernel.

    Args:
        decision: to restore the image.
        found: with the kernel, as it was found.
        history: that it was looked for under.
        placed: the kernel where low-resolution pixels lie in their blocks.
        observation: the image, with its noise.
        evidence: of it.
        explanations: of its spectrum; None of a JPEG file.
    """
    free, scale = history == histories.FREE, observation.scale
    candidates = None
    if decision.chance < DOUBTED:
        candidates = doubted(evidence, placed, scale, decision.chance)
    elif free:
        pixels = math.prod(found.box[2:]) / found.kernel.shape[-1] ** 2
        candidates = beside(evidence, observation, placed, decision.phase, pixels=pixels)
    elif decision.quality is not None:
        plain = PLAIN if decision.quality < CLOSE else 0.0
        candidates = Candidates(placed.float().cpu(), torch.ones(1), weight=PACKED, plain=plain)
    decision = dataclasses.replace(decision, candidates=candidates)
    if explanations is None:
        return decision
    judged = None if free else found.kernel
    return unless_unexplained(decision, evidence, explanations, judged, history, scale)


def beside(
    evidence: Evidence,
    observation: BlindObservation,
    kernel: Float[Tensor, "1 k k"],
    phase: float,
    *,
    pixels: float,
) -> Candidates:
    """What counts beside a kernel of free form, or in place of it.

    Args:
        evidence: of the image.
        observation: the image, with its noise.
        kernel: that was found for it.
        phase: high-resolution pixels from a low-resolution pixel's place to the centre of its block.
        pixels: of the observation for each tap.
    """
    milder = hedged(observation, kernel, phase)
    if pixels < ENOUGH:
        return possible(evidence, milder.kernels, observation.scale, least=MISTAKEN)
    careful = CAREFUL if evidence.quality is None else WARY
    return dataclasses.replace(milder, weight=max(careful, ENOUGH / pixels))


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

"""What to do about an image: enlarge it, or restore it with a kernel; decided by what each error would cost.

Restored as if it were blurred, a thumbnail loses decibels; enlarged plainly, a blurred image only stays as it is. So an
image is restored when it is likely blurred, and only then.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.auto import histories
from srfoundry.blind.auto.evidence import Evidence
from srfoundry.blind.auto.histories import SHAPED, SIZE
from srfoundry.blind.decision import SURELY_SHARP, Candidates, Decision, Variation
from srfoundry.degradation import kernels
from srfoundry.degradation.reductions import antialiasing, sized

# Chosen on training photographs (BSD400, x2).
SHARP = 0.5  # chance of a sharp image from which on it is enlarged
DOUBTED = 0.96  # chance of blur below which the restoration is the mean over what may have happened
BEHIND = 0.9  # share of "blurred, reduced" among the blurred histories from which on it is believed
ALONE = 0.1  # chance that pixels of a sharp image were left out, below which it is not thought of
# Its weight in the mean above that, and the chance from which on nothing else is thought of. Training photographs, x2,
# half of them softened, four thumbnails of each and one of which pixels were left out, linear enlargements, gain in dB,
# made worse by more than 0.1, by a classifier of 327 others (113 photographs) and of 13 bundled ones (30): weighed by
# its chance, by 0.25 at least, and believed from 0.7 on 0.40, 87 and 0.44, 51; believed from 0.45 on 0.41, 73 and
# 0.46, 39; as here 0.39, 58 and 0.52, 17.
UNLIKELY, LEFT_OUT = 0.15, 0.45
SURE = 0.9  # chance of a sharp image from which on no blur is thought of
# Scale from which on none is in any image that is enlarged: its grid and a reduction's lie too far apart for a mean. Of
# 89 means of blocks by 4 (BSD400) 28 lost more than 0.1 dB with it, four without; 25 blurred images that were taken for
# sharp lose 0.4 more. By 3 there is little to gain.
APART = 4
SELDOM = 0.25  # weight of a blur that is no wider than an antialiasing, at most: so narrow is one in forty
STAND_IN = 0.4  # variance of the Gaussian that stands for a blur below that, in multiples of the scale, px^2
VARIES = 0.04  # share of sharp windows from which on a blur varies; no image of 300 under one blur had any

ROUND = ("gaussian", "blurred, reduced")  # blurs whose kernel is taken for a Gaussian
WORDS = {
    "reduced": "a reduced image",
    "area": "a reduced image",
    "decimated": "a sharp image of which pixels were left out",
    "gaussian": "a Gaussian blur",
    "disc": "defocus",
    "line": "motion along a line",
    "shake": "camera shake",
    "blurred, reduced": "a blur before an antialiased reduction",
}


def decide(evidence: Evidence, scale: int, *, insist: bool = False) -> tuple[Decision, str]:
    """Decide on an image's evidence.

    Args:
        evidence: of the image.
        scale: by which it was reduced.
        insist: restore it whatever is seen.

    Returns:
        the decision, and the history that it rests on.
    """
    sharp = evidence.chance(*histories.SHARP)
    restore = insist or sharp < SHARP
    history = max(SHAPED if restore else histories.SHARP, key=evidence.chance)
    if restore and evidence.chance(*ROUND) >= evidence.chance(history):
        believed = evidence.chance("blurred, reduced") >= BEHIND * evidence.chance(*ROUND, *SHAPED)
        history = "blurred, reduced" if believed else "gaussian"
    phase, candidates, masks, noise = evidence.phase(history, scale), None, None, evidence.grain
    if not restore:
        phase, candidates = enlargement(evidence, scale)
        if evidence.masks is not None and history != "decimated":
            masks, noise = _unless_left_out(evidence.masks, evidence), replace(evidence, noise=evidence.calm).grain
    decision = Decision(
        restore=restore,
        seen=WORDS[history],
        chance=1 - sharp if restore else sharp,
        phase=phase,
        noise=noise,
        quality=evidence.quality,
        varies=varying(evidence) if restore else None,
        candidates=candidates,
        masks=masks,
    )
    return decision, history


def _unless_left_out(masks: Float[Tensor, " p"], evidence: Evidence) -> Float[Tensor, " p"]:
    """The masks' chances, less the likelier it is that pixels were left out: steps between single pixels look sharp."""
    none = torch.zeros_like(masks)
    none[0] = 1
    return torch.lerp(masks, none, evidence.left_out)


def enlargement(evidence: Evidence, scale: int) -> tuple[float, Candidates | None]:
    """Where the pixels of a sharp image lie in their blocks, and what may have made it: nothing is done on a guess.

    Half a pixel beside its place an image loses 2 to 6 dB, half of that in the middle between two places. The linear
    mean over what is possible, weighted by its chances, has the least expected error of all linear enlargements.

    Args:
        evidence: of the image.
        scale: by which it was reduced.

    Returns:
        high-resolution pixels from a low-resolution pixel's place to the centre of its block, as far as is known; the
        kernels and their chances, None where pixels were surely left out, and nothing is known better than the image.
    """
    sharp = evidence.chance(*histories.SHARP)
    left_out = evidence.left_out
    sure = sharp >= SURE or scale >= APART
    if left_out >= LEFT_OUT and sure:
        return 0.0, None
    weight = left_out if left_out >= LEFT_OUT else UNLIKELY if left_out >= ALONE else 0.0
    variance = torch.tensor([STAND_IN * scale])
    blur = None if sure else kernels.gaussian(SIZE, variance, variance, torch.zeros(1)).float()
    found = mixture(evidence, scale, decimated=weight, blurs=blur, blurred=min(1 - sharp, SELDOM))
    if weight or blur is not None:
        return _aligned(evidence, found, scale), found
    return evidence.phase("reduced", scale), found


def mixture(
    evidence: Evidence,
    scale: int,
    *,
    decimated: float,
    blurs: Float[Tensor, "n k k"] | None,
    blurred: float = 0.0,
    among: Float[Tensor, " n"] | None = None,
) -> Candidates:
    """The reductions (first), none, and blurs.

    Args:
        evidence: of the image, for how likely each reduction is.
        scale: of the reduction.
        decimated: chance that pixels of a sharp image were only left out.
        blurs: kernels, one of which is there if it is blurred; None where that is not thought of.
        blurred: chance that it is.
        among: how likely each blur is then, sum 1; one as likely as the other if not given.
    """
    lobed, area = (max(evidence.chance(name), 1e-9) for name in ("reduced", "area"))
    share = {"area": area / (lobed + area)}
    share |= {how: part * lobed / (lobed + area) for how, part in histories.LOBED.items()}
    left = 1 - blurred if blurs is not None else 1.0
    every = [antialiasing(how, scale) for how in histories.REDUCTIONS] + [torch.ones(1, 1, 1)]
    chances = [left * (1 - decimated) * share[how] for how in histories.REDUCTIONS] + [left * decimated]
    if blurs is not None:
        if evidence.decimation is not None:
            blurs = kernels.centred(blurs.cpu(), evidence.phase("gaussian", scale))
        each = [1 / len(blurs)] * len(blurs) if among is None else among.tolist()
        every, chances = [*every, *blurs.cpu().split(1)], [*chances, *(blurred * chance for chance in each)]
    size = max(kernel.shape[-1] for kernel in every)
    return Candidates(torch.cat([sized(kernel, size) for kernel in every]), torch.tensor(chances))


def _aligned(evidence: Evidence, found: Candidates, scale: int) -> float:
    """Where the pixels of an image lie in their blocks, which one of these made."""
    if evidence.decimation is not None:
        return evidence.phase("reduced", scale)
    return histories.phase("reduced", scale) * float(found.chances[: len(histories.REDUCTIONS)].sum())


def varying(evidence: Evidence) -> Variation | None:
    """How the blur of a blurred image varies, where some of its windows are surely sharp; None where none are."""
    blurred = 1 - evidence.sharp_windows
    seen = float((blurred < SURELY_SHARP).double().mean()) >= VARIES
    return Variation(evidence.boxes, blurred) if seen else None


def hardly_blurred(decision: Decision, evidence: Evidence, scale: int, kernel: Float[Tensor, "1 k k"]) -> Decision:
    """The decision once the kernel that was found is no wider than an antialiasing: a reduced image, perhaps.

    Args:
        decision: to restore it.
        evidence: that it rests on.
        scale: by which the image was reduced.
        kernel: that was found.
    """
    blurred = min(decision.chance, SELDOM)
    found = mixture(evidence, scale, decimated=evidence.left_out, blurs=kernel, blurred=blurred)
    return replace(
        decision,
        restore=False,
        seen=WORDS["reduced"],
        chance=1 - blurred,
        phase=_aligned(evidence, found, scale),
        varies=None,
        candidates=found,
    )

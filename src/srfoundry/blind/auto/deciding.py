"""What to do about an image: enlarge it, or restore it with a kernel; decided by what each error would cost.

Restored as if it were blurred, a thumbnail loses decibels; enlarged plainly, a blurred image only stays as it is. So an
image is restored when it is likely blurred, and only then.
"""

from dataclasses import replace
from typing import Literal

import torch

from srfoundry.blind.auto import histories
from srfoundry.blind.auto.evidence import Evidence
from srfoundry.blind.auto.reductions import antialiasing, sized
from srfoundry.blind.decision import SURELY_SHARP, Candidates, Decision, Variation

# Chosen on training photographs (BSD400, x2).
SHARP = 0.5  # chance of a sharp image from which on it is enlarged
BEHIND = 0.99  # share of "blurred, reduced" among the blurred histories from which on it is believed
ALONE = 0.9  # share of reduced images among the sharp from which on nothing else is thought of
UNLIKELY = 0.25  # weight of a decimation in the mean that any antialiased reduction bears: it costs them 0.1 dB at most
SURE = 0.95  # chance of a sharp image from which on the linear mean over reductions beats cubic interpolation
VARIES = 0.04  # share of sharp windows from which on a blur varies; no image of 300 under one blur had any
ROUND = 0.5  # share of Gaussians among the blurred histories from which on the kernel is taken for one

Form = Literal["gaussian", "any"]
WORDS = {
    "reduced": "a reduced image",
    "decimated": "a sharp image of which pixels were left out",
    "gaussian": "a Gaussian blur",
    "disc": "defocus",
    "line": "motion along a line",
    "shake": "camera shake",
    "blurred, reduced": "a blur before an antialiased reduction",
}


def decide(evidence: Evidence, scale: int, *, insist: bool = False) -> tuple[Decision, str, Form]:
    """Decide on an image's evidence.

    Args:
        evidence: of the image.
        scale: by which it was reduced.
        insist: restore it whatever is seen.

    Returns:
        the decision, the history that it rests on, and the form of kernels to look for.
    """
    sharp = evidence.chance(*histories.SHARP)
    restore = insist or sharp < SHARP
    among = {name: evidence.chance(name) for name in histories.NAMES if (name in histories.SHARP) != restore}
    history = max(among, key=lambda name: among[name])
    mass = max(sum(among.values()), 1e-12)
    if history == "blurred, reduced" and among[history] < BEHIND * mass:
        history = max((name for name in among if name != history), key=lambda name: among[name])
    phase = histories.phase(history, scale)
    candidates = None
    if not restore and history == "reduced":
        if among[history] < ALONE * mass:
            candidates, phase = reductions(scale, UNLIKELY), (1 - UNLIKELY) * phase
        elif sharp >= SURE and evidence.quality is None:
            candidates = reductions(scale, 0.0)
    rounded = sum(among.get(name, 0.0) for name in ("gaussian", "blurred, reduced"))
    decision = Decision(
        restore=restore,
        seen=WORDS[history],
        chance=1 - sharp if restore else sharp,
        phase=phase,
        noise=evidence.grain,
        quality=evidence.quality,
        varies=varying(evidence) if restore else None,
        candidates=candidates,
    )
    return decision, history, "gaussian" if rounded >= ROUND * mass else "any"


def reductions(scale: int, decimated: float) -> Candidates:
    """What may have made a sharp image small.

    Args:
        scale: of the reduction.
        decimated: chance that pixels were only left out.
    """
    size = antialiasing("lanczos", scale).shape[-1]
    every = [sized(antialiasing(how, scale), size) for how in histories.REDUCTIONS]
    chances = [(1 - decimated) * share for share in histories.REDUCTIONS.values()]
    if decimated:
        every, chances = [*every, sized(torch.ones(1, 1, 1), size)], [*chances, decimated]
    return Candidates(torch.cat(every), torch.tensor(chances))


def varying(evidence: Evidence) -> Variation | None:
    """How the blur of a blurred image varies, where some of its windows are surely sharp; None where none are."""
    blurred = 1 - evidence.sharp_windows
    seen = float((blurred < SURELY_SHARP).double().mean()) >= VARIES
    return (
        Variation(
            evidence.boxes,
            blurred,
        )
        if seen
        else None
    )


def hardly_blurred(decision: Decision, scale: int) -> Decision:
    """The decision once the kernel that was found is no wider than an antialiasing: a reduced image, after all."""
    return replace(
        decision, restore=False, seen=WORDS["reduced"], chance=1 - decision.chance, phase=(scale - 1) / 2, varies=None
    )

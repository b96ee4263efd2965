"""What to do about an image: enlarge it, or restore it with a kernel; decided by what each error would cost.

Restored as if it were blurred, a thumbnail loses decibels; enlarged plainly, a blurred image only stays as it is. So an
image is restored when it is likely blurred, and only then.
"""

from dataclasses import replace
from typing import Literal

from srfoundry.blind.auto import histories
from srfoundry.blind.auto.evidence import Evidence
from srfoundry.blind.decision import SURELY_SHARP, Decision, Variation

# Chosen on training photographs (BSD400, x2).
SHARP = 0.5  # chance of a sharp image from which on it is enlarged
BEHIND = 0.99  # share of "blurred, reduced" among the blurred histories from which on it is believed
ALONE = 0.95  # share of one kind of sharp image from which on it is taken for it; below, the grid lies between both
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
    if not restore and among[history] < ALONE * mass:
        phase = among[histories.SHARP[0]] / mass * histories.phase(histories.SHARP[0], scale)
    rounded = sum(among.get(name, 0.0) for name in ("gaussian", "blurred, reduced"))
    decision = Decision(
        restore=restore,
        seen=WORDS[history],
        chance=1 - sharp if restore else sharp,
        phase=phase,
        noise=evidence.grain,
        quality=evidence.quality,
        varies=varying(evidence) if restore else None,
    )
    return decision, history, "gaussian" if rounded >= ROUND * mass else "any"


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

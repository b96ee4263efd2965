"""What to do about an image: enlarge it, or restore it with a kernel; decided by what each error would cost.

Restored as if it were blurred, a thumbnail loses decibels; enlarged plainly, a blurred image only stays as it is. So an
image is restored when it is likely blurred, and only then.
"""

from typing import Literal

from srfoundry.blind.auto import histories
from srfoundry.blind.auto.evidence import Evidence
from srfoundry.blind.decision import Decision

# Chosen on training photographs (BSD400, x2).
SHARP = 0.5  # chance of a sharp image from which on it is enlarged
BEHIND = 0.85  # share of "blurred, reduced" among the blurred histories from which on it is believed
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
    rounded = sum(among.get(name, 0.0) for name in ("gaussian", "blurred, reduced"))
    decision = Decision(
        restore=restore,
        seen=WORDS[history],
        chance=1 - sharp if restore else sharp,
        phase=histories.phase(history, scale),
        noise=evidence.grain,
        quality=evidence.quality,
    )
    return decision, history, "gaussian" if rounded >= ROUND * mass else "any"

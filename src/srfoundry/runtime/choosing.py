"""Which member of a family fits a photograph: the one for clean reductions, or the one for what cameras deliver.

A network that was trained on clean reductions alone sharpens blocks and noise; one that was trained for damage takes
fine texture for noise, and sharp edges for blurred ones. Where the damage is small, the former is the better one.
"""

from dataclasses import dataclass
from typing import Literal

from srfoundry.imaging.damage import Damage, damage
from srfoundry.imaging.user_image import Photograph

Kind = Literal["clean", "photo"]

# Found on training photographs, damaged in thirty ways: where the results are worse than the better member's by least,
# while no clean photograph gets the other one. `python -m benchmarks.photographs` measures what is lost.
WORST_QUALITY = 80  # of a JPEG, 1 to 100; below, its blocks are seen as edges
MOST_NOISE = 2.25  # standard deviation of the luminance's, of 255
MOST_BLUR = 0.7  # deviation, pixels (damage.blur); clean photographs have 0.25 to 0.6
SUSPECT_BLUR, MOST_FALLOFF = 0.49, 13.5  # pixels and dB (damage.falloff): out-of-focus photographs exceed one of them


@dataclass(frozen=True)
class Choice:
    """What is taken, and why.

    Attributes:
        kind: clean or photo.
        why: in a few words, for people.
        seen: what was measured.
    """

    kind: Kind
    why: str
    seen: Damage


def choose(photograph: Photograph) -> Choice:
    """Look at a photograph; takes about 0.1 s of a processor at any size.

    Args:
        photograph: as it was read; of a JPEG, its tables are looked at, too.
    """
    return fitting(damage(photograph.pixels, photograph.metadata.get("quantization")))


def fitting(seen: Damage) -> Choice:
    """What fits this damage."""
    reasons = []
    if seen.quality is not None and seen.quality < WORST_QUALITY:
        reasons.append(f"it was a JPEG of quality {seen.quality}")
    if seen.noise > MOST_NOISE:
        reasons.append(f"its noise is {seen.noise:.1f} of 255")
    if seen.blur > MOST_BLUR or (seen.blur > SUSPECT_BLUR and seen.falloff > MOST_FALLOFF):
        reasons.append(f"its sharpest edges are blurred by {seen.blur:.2f} pixels")
    if reasons:
        return Choice("photo", " and ".join(reasons), seen)
    packed = "no JPEG" if seen.quality is None else f"JPEG quality {seen.quality}"
    return Choice("clean", f"it is hardly damaged: {packed}, noise {seen.noise:.1f}, blur {seen.blur:.2f}", seen)

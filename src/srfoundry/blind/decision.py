"""What a method decided of an image before it estimated a kernel: restore it, or not; and how sure that is."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.guard import NOISY
from srfoundry.imaging.windows import Box

SURE, LIKELY = 0.95, 0.75  # chances that are called so
SURELY_SHARP = 0.05  # chance of blur below which a window is


@dataclass(frozen=True)
class Variation:
    """A blur that is not the same everywhere.

    Attributes:
        boxes: windows of the image.
        blurred: for each the chance that it is blurred.
    """

    boxes: list[Box]
    blurred: Float[Tensor, " n"]

    def line(self) -> str:
        """It in a line."""
        sharp = int((self.blurred < SURELY_SHARP).sum())
        return f"its blur varies: {sharp} of {len(self.boxes)} windows are sharp, and restored as if they were blurred"

    def map(self, size: tuple[int, int]) -> Float[Tensor, "1 3 h w"]:
        """The chance of blur at each pixel of an image, white where it is sure; the mean of the windows that hold it.

        Args:
            size: height and width of the image whose windows these are.
        """
        total, count = torch.zeros(size), torch.zeros(size)
        for (top, left, height, width), chance in zip(self.boxes, self.blurred.tolist(), strict=True):
            inside = (slice(top, top + height), slice(left, left + width))
            total[inside] += chance
            count[inside] += 1
        return (total / count.clamp_min(1)).expand(1, 3, -1, -1)


@dataclass(frozen=True)
class Candidates:
    """Kernels under direct decimation, one of which made an image, and how likely each is.

    Attributes:
        kernels: each with its shift inside of the taps.
        chances: 0 or more.
        weight: of their linear mean in the result, range [0, 1]; the rest is the restorer's, with the kernel found.
        plain: share of cubic interpolation in that mean, range [0, 1].
        why: they take its place, in words that follow the sentence that they do; empty where nothing is amiss.
    """

    kernels: Float[Tensor, "n k k"]
    chances: Float[Tensor, " n"]
    weight: float = 1.0
    plain: float = 0.0
    why: str = ""


@dataclass(frozen=True)
class Decision:
    """What is done about an image, and why.

    Attributes:
        restore: it is restored; otherwise enlarged.
        seen: what it is taken for, in words.
        chance: that it is blurred if it is restored, that it is sharp if not.
        phase: high-resolution pixels from a low-resolution pixel's place to the centre of its block.
        noise: that a restorer should suppose, range [0, 1]: what a JPEG file changed counts.
        quality: of the JPEG file that it was; None where there is no trace of one.
        varies: how its blur varies, where that is seen.
        candidates: what may have made it, where one kernel is too little to rely on.
        instead: the same for the case that the restoration rings.
        masks: chances of each mask (`sharpening.drawn`) that sharpened it, where one is taken back before it is
            enlarged.
    """

    restore: bool
    seen: str
    chance: float
    phase: float
    noise: float = 0.0
    quality: int | None = None
    varies: Variation | None = None
    candidates: Candidates | None = None
    instead: Candidates | None = None
    masks: Float[Tensor, " p"] | None = None

    @property
    def damaged(self) -> bool:
        """Whether the image has noise, or was a JPEG file."""
        return self.quality is not None or self.noise > NOISY

    def line(self) -> str:
        """It in a line."""
        sure = "surely" if self.chance >= SURE else "likely" if self.chance >= LIKELY else "perhaps"
        further = "" if self.quality is None else f"; JPEG quality {self.quality}"
        further += f"; noise {255 * self.noise:.1f} of 255" if self.noise else ""
        further += "" if self.masks is None else f"; sharpened: {1 - float(self.masks[0]):.2f}"
        return (
            f"it looks like {self.seen} ({sure} {'blurred' if self.restore else 'sharp'}: {self.chance:.2f}{further})"
        )

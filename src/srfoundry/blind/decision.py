"""What a method decided of an image before it estimated a kernel: restore it, or not; and how sure that is."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from srfoundry.imaging.windows import Box

SURE, LIKELY = 0.95, 0.75  # chances that are called so


@dataclass(frozen=True)
class Variation:
    """A blur that is not the same everywhere.

    Attributes:
        boxes: windows of the image.
        blurred: for each the chance that it is blurred.
        sharp: share of the windows that are surely sharp where the image as a whole is blurred.
    """

    boxes: list[Box]
    blurred: Float[Tensor, " n"]
    sharp: float


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
    """

    restore: bool
    seen: str
    chance: float
    phase: float
    noise: float = 0.0
    quality: int | None = None
    varies: Variation | None = None

    def line(self) -> str:
        """It in a line."""
        sure = "surely" if self.chance >= SURE else "likely" if self.chance >= LIKELY else "perhaps"
        further = "" if self.quality is None else f"; JPEG quality {self.quality}"
        further += f"; noise {255 * self.noise:.1f} of 255" if self.noise else ""
        return (
            f"it looks like {self.seen} ({sure} {'blurred' if self.restore else 'sharp'}: {self.chance:.2f}{further})"
        )

"""Photographs that what fuses restorations learns from: behind blurs of every history, noise and JPEG."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.auto import histories
from srfoundry.blind.nonblind_pairs import SharpPatches, large_photographs, soften
from srfoundry.config.sections import Fusion as Section
from srfoundry.degradation.operator import degrade
from srfoundry.imaging import images
from srfoundry.imaging.patches import Patches
from srfoundry.training.settings import PatchDraw

SHARES = {  # of the histories of photographs: shakes are what is found wrong
    "reduced": 0.06,
    "area": 0.05,
    "decimated": 0.05,
    "gaussian": 0.13,
    "disc": 0.13,
    "line": 0.10,
    "shake": 0.42,
    "blurred, reduced": 0.06,
}
NOISY, PACKED, QUALITIES = 0.25, 0.1, (70, 95)  # shares of noisy photographs and of JPEG files, and of which quality
RIM = 8  # low-resolution pixels around a photograph that are blurred with it, and cut off

Seen = tuple[Float[Tensor, "1 3 h w"], Float[Tensor, "1 3 M N"]]  # a low-resolution image, and what it shows


@dataclass(frozen=True)
class Damage:
    """What happened to an image.

    Attributes:
        kernel: of its blur or reduction, under direct decimation.
        noise: standard deviation, range [0, 1].
        quality: of the JPEG file that it was; None of what was none.
    """

    kernel: Float[Tensor, "1 k k"]
    noise: float
    quality: int | None


class PhotographDraw:
    """Photographs with a history, in 8 bits.

    Args:
        patches: the photographs; those that are smaller than a patch are left out.
        chosen: what params.yaml says of them.

    Raises:
        FoundryError: no photograph is large enough.
    """

    def __init__(self, patches: Patches, chosen: Section) -> None:
        unit = max(patches.factors)  # patches lie on the pixels of every reduction of the photographs
        self.chosen, side = chosen, -(-chosen.patch // unit) * unit
        large = large_photographs(patches, side, stage="fusion", setting="fusion.patch")
        self.sharp = SharpPatches(large, PatchDraw(patch=side, octave=0.0, batch=1))

    def draw(
        self, scale: int, *, thumbnail: bool = False, rng: torch.Generator
    ) -> tuple[Damage, Float[Tensor, "1 3 h w"], Float[Tensor, "1 3 M N"]]:
        """What happened to a photograph, the low-resolution image, and the photograph.

        Args:
            scale: of the reduction.
            thumbnail: it was made small and no more, and the photograph may be softer: such are taken for blurred.
            rng: on the CPU.
        """
        kernel = histories.draw(1, scale, shares=histories.MADE if thumbnail else SHARES, rng=rng).kernel
        high = self._photograph(scale, self.chosen.thumbnail_softness if thumbnail else self.chosen.softness, rng)
        noisy, level, packed, quality = torch.rand(4, generator=rng).tolist()
        damage = Damage(
            kernel,
            noise=self.chosen.noise * level if noisy < NOISY else 0.0,
            quality=round(QUALITIES[0] + quality * (QUALITIES[1] - QUALITIES[0])) if packed < PACKED else None,
        )
        return damage, *_seen(high, damage, scale, rng)

    def another(self, damage: Damage, scale: int, *, rng: torch.Generator) -> Seen:
        """Another photograph to which the same happened; arguments as of `draw`."""
        return _seen(self._photograph(scale, self.chosen.softness, rng), damage, scale, rng)

    def _photograph(self, scale: int, softness: float, rng: torch.Generator) -> Float[Tensor, "1 3 H W"]:
        high = self.sharp.draw(rng=rng)
        high = high[..., : high.shape[-2] // scale * scale, : high.shape[-1] // scale * scale]
        return soften(high, softness, rng=rng) if softness else high


def _seen(high: Float[Tensor, "1 3 H W"], damage: Damage, scale: int, rng: torch.Generator) -> Seen:
    """What is seen of a photograph, and that part of it."""
    low = degrade(high, damage.kernel, scale, border="reflect")
    if damage.noise:
        low = low + damage.noise * torch.randn(low.shape, generator=rng)
    low = images.from_uint8(images.to_uint8(low))
    if damage.quality is not None:
        low = images.jpeg(low, damage.quality)
    rim = RIM * scale
    return low[..., RIM:-RIM, RIM:-RIM], high[..., rim:-rim, rim:-rim]

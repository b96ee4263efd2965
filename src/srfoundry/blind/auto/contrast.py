"""Dark and hazy images, looked at as if their levels spanned as much as other photographs'.

What estimates kernels has learned from photographs, whose levels span most of the range: the energies of a thumbnail
with a quarter of that are those of a blurred one. A blur is linear and keeps sums: the stretched image has the same.
"""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from srfoundry.networks.nonblind.degradation_classifier import luma

# Range of the luminance from which on an image stays as it is (one in fifty of 163 photographs of BSD400 has less),
# what others are stretched to (half of the photographs have more), and the shares of the pixels below and above it. Of
# 24 thumbnails with a quarter of their light two classifiers take none and five for blurred if they are stretched to
# 0.5, none and one if to 0.8; of as many images behind Gaussians 24 and 23, and 22 and 22.
SPAN, USUAL, REST = 0.5, 0.8, 0.005
LEAST = 2 / 255  # range of an even image
PIXELS = 2**18  # that are looked at, evenly spread


@dataclass(frozen=True)
class Contrast:
    """What an image's levels are stretched by: nothing where they span enough.

    Attributes:
        black: level that becomes 0.
        gain: 1 or more.
    """

    black: float
    gain: float

    @classmethod
    def of(cls, low: Float[Tensor, "1 3 h w"]) -> "Contrast":
        """That of an image, range [0, 1]."""
        levels = luma(low.float()).flatten()
        levels = levels[:: math.ceil(len(levels) / PIXELS)].sort().values
        dark = int(REST * (len(levels) - 1))
        black, white = float(levels[dark]), float(levels[-1 - dark])
        span = white - black
        return cls(0.0, 1.0) if span >= SPAN else cls(black, USUAL / max(span, LEAST))

    def stretched(self, image: Float[Tensor, "*b h w"]) -> Float[Tensor, "*b h w"]:
        """The image, the same where its levels span enough; a few of them may leave the range [0, 1]."""
        return image if self.gain == 1 else self.gain * (image - self.black)

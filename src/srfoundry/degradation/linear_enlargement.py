"""Enlargement of a low-resolution image to the size at which MZSR's network works.

`bicubic` is MATLAB's, as in the paper. `linear` knows the blur: it is the linear estimate of least mean squared error
of a photograph of which only the variogram is known (variogram.py).

White noise of a known deviation is one more term of that estimate, in units of the variogram. The variogram's scale is
the image's own: the mean square of its differences without that of the noise. Noise is alike in all colours and a
photograph is not, so each principal colour of these differences has filters of its own: grey hardly any smoothing, the
hues much. Of an uncertain kernel the moments are means over what it may be, weighted as these are likely: the estimate
of least expected error, milder than any of theirs.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from srfoundry.degradation import operator
from srfoundry.degradation.variogram import Moments
from srfoundry.imaging import resize

How = Literal["bicubic", "linear"]

BUSY = 1.8  # how much more an image differs than on average where its errors are; chosen on photographs of BSD400
FAINT = 0.02  # share of an image's differences that are not noise, at least


def enlarge(
    low: Float[Tensor, "b c h w"],
    kernel: Float[Tensor, "n k k"] | None,
    scale: int,
    *,
    how: How,
    decimation: operator.Decimation = "direct",
    noise: float = 0.0,
) -> Float[Tensor, "b c H W"]:
    """Enlarge by `scale` in one of the two ways; neither rounded nor clipped.

    Args:
        low: range [0, 1].
        scale: the enlargement.
        how: `bicubic` or `linear`.
        kernel: the blur (MZSR's convention) that `linear` undoes, one for all images or one for each; None means that
            MATLAB's bicubic made the image.
        decimation: how the image was reduced after the blur.
        noise: standard deviation of the images' noise, range [0, 1], which `linear` takes into account.
    """
    if how == "bicubic":
        return resize.cubic(low, scale)
    return fitted(low, kernel, scale, decimation=decimation, noise=noise)(low)


@dataclass(frozen=True)
class Fitted:
    """The linear enlargement for a kernel and a noise.

    Attributes:
        filters: one set for all images (m = 1), or one for each; for each colour of each where there are colours.
        colours: principal colours of each image, in columns; None where there is no noise.
    """

    filters: Float[Tensor, "m p t t"]
    colours: Float[Tensor, "b c c"] | None = None

    def __call__(self, low: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c H W"]:
        """Enlarge the images that it was fitted to, or parts of them."""
        if self.colours is None:
            return linear(low, self.filters)
        axes = self.colours.to(low).expand(len(low), -1, -1)
        turned = torch.einsum("bij,bihw->bjhw", axes, low)
        sets = self.filters.repeat(len(low) * low.shape[1] // len(self.filters), 1, 1, 1)
        high = linear(turned.flatten(0, 1).unsqueeze(1), sets)
        return torch.einsum("bij,bjhw->bihw", axes, high.reshape(*low.shape[:2], *high.shape[-2:]))


def fitted(
    low: Float[Tensor, "b c h w"],
    kernel: Float[Tensor, "n k k"] | None,
    scale: int,
    *,
    decimation: operator.Decimation = "direct",
    noise: float = 0.0,
    weights: Float[Tensor, "g n"] | None = None,
    together: bool = False,
) -> Fitted:
    """The linear enlargement that is best for these images.

    Args:
        low: range [0, 1].
        kernel: the blurs (MZSR's convention), one for all images or one for each; with `weights`, what the blur may
            be. None means that MATLAB's bicubic made the image.
        scale: of the enlargement.
        decimation: how the image was reduced after the blur.
        noise: standard deviation of the images' noise, range [0, 1].
        weights: how likely each kernel is, a row for all images or one for each.
        together: the images are windows of one photograph.

    Raises:
        FoundryError: not a kernel, or weights that are none.
    """
    if kernel is None:
        kernel, decimation = low.new_ones(1, 1, 1), "bicubic"
    moments = Moments.of(kernel, scale, decimation=decimation)
    if weights is not None:
        moments = moments.averaged(weights)
    if not noise:
        return Fitted(moments.filters().to(low.device))
    ratio, colours = relative_noise(low, noise, together=together)
    if len(moments.step) > 1:
        moments = moments.picked(torch.arange(len(moments.step)).repeat_interleave(ratio.numel() // len(moments.step)))
    return Fitted(moments.filters(ratio.flatten()).to(low.device), colours.to(low.device))


def relative_noise(
    low: Float[Tensor, "b c h w"], noise: float | Float[Tensor, " b"], *, together: bool = False
) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b c c"]]:
    """White noise in units of each image's differences between neighbours, and the principal colours of these.

    The differences are those that the image would have without its noise: with it their covariance between colours has
    twice the noise's variance more on its diagonal. Of a grey image, all of whose colours have the same noise, it is
    the variance of grey alone that has more.

    Args:
        low: range [0, 1].
        noise: standard deviation, range [0, 1], of all images or of each.
        together: the images are windows of one photograph, whose differences are the mean of theirs.

    Returns:
        variance of the noise over half the mean square of the differences in each principal colour, and these colours
        in columns, both on the CPU.
    """
    seen = low.detach().double()
    both = low.new_zeros(len(low), low.shape[1], low.shape[1], dtype=torch.float64)
    for dim in (-2, -1):
        steps = seen.diff(dim=dim).flatten(2)
        both += steps @ steps.mT / max(steps.shape[-1], 1) / 4
    level = torch.as_tensor(noise, dtype=torch.float64).cpu().expand(len(low)) ** 2
    grey = (low == low[:, :1]).flatten(1).all(dim=1).cpu()
    level = torch.where(grey, low.shape[1] * level, level)[:, None]
    own = both.cpu() - torch.diag_embed(level.expand(-1, low.shape[1]))
    if together:
        own = own.mean(dim=0, keepdim=True).expand(len(low), -1, -1)
    values, colours = torch.linalg.eigh(own)
    apart = values.clamp_min(FAINT * (values + level)).clamp_min(1e-12)
    return level / (BUSY * apart), colours


def linear(low: Float[Tensor, "b c h w"], filters: Float[Tensor, "n p t t"]) -> Float[Tensor, "b c H W"]:
    """Filter with one set for all images (n = 1) or one for each, edge pixels repeated outside."""
    batch, channels, height, width = low.shape
    count, places, side = filters.shape[:3]
    padded = F.pad(low, [side // 2] * 4, mode="replicate")
    planes = padded.reshape(batch * channels, 1, *padded.shape[-2:])
    if count == 1:
        high = F.conv2d(planes, filters[0, :, None].to(low))
    else:
        taps = filters.to(low).flatten(2).repeat_interleave(batch // count * channels, dim=0)
        high = taps @ F.unfold(planes, side)
    return F.pixel_shuffle(high.reshape(batch, channels * places, height, width), round(places**0.5))

"""Whether an image should be left alone: what a restorer of blurs makes worse, seen in the image itself.

Restoration takes an image for a blurred photograph of which every s-th pixel was kept. Of an ordinary thumbnail, or of
an image that was hardly blurred at all, it sharpens what is sharp and puts it half a pixel beside its place; strong
noise becomes a pattern. Two numbers show which: the width of the blur that explains the spectrum best (a thumbnail's
antialiasing looks like a narrow Gaussian), and the noise. Both are read from the image and depend on no network.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.degradation.kernels import gaussian
from srfoundry.degradation.noise_level import known_noise
from srfoundry.degradation.observation import Sampling
from srfoundry.degradation.settings import SpectrumModel
from srfoundry.degradation.spectral_likelihood import SpectralLikelihood

# Chosen on training photographs (BSD400, x2). Deviations of blurs in multiples of the scale.
NARROW = 0.475  # nine of ten thumbnails look narrower; so do a quarter of Gaussians of half that, and all of less
SHARP = 0.28  # below it, aliases show that pixels were kept as they are; above, that they were antialiased
NOISY = 1.5 / 255  # above it, restorers that know no noise lose on half of the photographs
PHOTOGRAPHS = SpectrumModel(noise=0.0, tile=32, keep=1.0, exponent=(2.5, 0.8), softness=0.2)
WIDTHS = (0.1, 1.15, 32)  # deviations that are tried, in multiples of the scale, and their number
TEMPERATURE = 4.0  # of their likelihoods, as tiles overlap and photographs are no Gaussian process
LEAST = 16  # pixels a side below which a spectrum says nothing
# Of the wrong kernel's restoration the differences between neighbours are many times those of the plain enlargement and
# not sparser, as a photograph's are: it rings. Log of their energy's ratio, plus SPARSE times that of their sparsity's.
# Training photographs (BSD400 and T91, x2), kernels that auto found but for discs, which were never wrong: of 280 that
# the published USRNet restored, 7 were beyond RINGING and lost 0.9 to 17.9 dB; of MZSR's 43 two, which
# lost 1.8 and 13.6, but not two others that lost 11 and 13.
SPARSE, RINGING = 8.0, 2.4
RIM = 8  # pixels at each border that are not looked at
# Largest deviation of the image from what was restored with one kernel and blurred again, beyond its noise: the
# restorer knows blurred photographs, and what it makes of anything else has another blur's image. A mean over kernels
# is not judged so: no one of them explains it. Photographs (training ones, USRNet): 3.3 of 255 at most, one 8.4; sharp
# chequers, stripes and cells that were taken for blurred 13 to 36.
UNEXPLAINED = 11 / 255


@dataclass(frozen=True)
class Doubt:
    """Why an image is better enlarged than restored.

    Attributes:
        why: in one line, for the user.
        phase: high-resolution pixels from a low-resolution pixel's place to the centre of its block: 0 where every
            s-th pixel was kept, (s - 1) / 2 where blocks were averaged.
        can_be_forced: whether it could be restored all the same. Where nothing is seen, no kernel is found, either.
    """

    why: str
    phase: float
    can_be_forced: bool = True

    def line(self, insist: str) -> str:
        """Why, and how to have it restored if that is possible.

        Args:
            insist: how one insists, such as --force.
        """
        return self.why + f"; {insist} restores it all the same" * self.can_be_forced


def doubt(
    low: Float[Tensor, "1 c h w"], sampling: Sampling, *, noise: float | None, blind: bool, uses_noise: bool
) -> Doubt | None:
    """Say why restoration would do harm, or nothing.

    Args:
        low: the image, range [0, 1].
        sampling: what it is taken for.
        noise: standard deviation of its noise, range [0, 1]; estimated if not given.
        blind: the kernel is to be estimated; a kernel that is given is believed.
        uses_noise: the restorer takes the noise into account.
    """
    direct = (sampling.scale - 1) / 2
    nothing = blank(low, sampling, blind=blind)
    if nothing is not None:
        return nothing
    level = noise if noise is not None else known_noise(low) if min(low.shape[-2:]) >= LEAST else 0.0
    kept = sampling.decimation == "direct"
    judged = blind and kept and sampling.scale > 1
    width = apparent_width(low, sampling.scale, noise=level) if judged else math.inf
    phase = 0.0 if kept and not SHARP <= width < NARROW else direct
    if not uses_noise and level > NOISY:
        return Doubt(unknown_noise(level), phase)
    if width >= NARROW:
        return None
    seen = f"it looks hardly blurred ({width:.2f} low-resolution pixels)"
    return Doubt(f"{seen}, as {'if pixels were only left out' if width < SHARP else 'a reduced image does'}", phase)


def blank(low: Float[Tensor, "1 c h w"], sampling: Sampling, *, blind: bool, least: int = LEAST) -> Doubt | None:
    """Say that nothing can be seen in an image, or nothing.

    Args:
        low: range [0, 1].
        sampling: what it is taken for.
        blind: its kernel is to be estimated.
        least: pixels a side that this needs.
    """
    aligned = (sampling.scale - 1) / 2
    if float((low.amax(dim=(-2, -1)) - low.amin(dim=(-2, -1))).max()) < 1 / 255:
        return Doubt("it is of one colour", aligned, can_be_forced=False)
    if blind and min(low.shape[-2:]) < least:
        return Doubt(f"from less than {least} pixels a side no blur can be estimated", aligned, can_be_forced=False)
    return None


def ringing(image: Float[Tensor, "1 C H W"], plain: Float[Tensor, "1 C H W"]) -> float:
    """How much larger and how much less sparse a restored image's differences are than those of the plain enlargement.

    Args:
        image: range [0, 1].
        plain: the same, enlarged without sharpening.

    Returns:
        a logarithm; 0 of images alike, minus infinity where there are no differences.
    """
    (energy, sparsity), (before, sparsity_before) = _differences(image), _differences(plain)
    if not (energy > 0 and before > 0):
        return -math.inf
    return math.log(energy / before) + SPARSE * math.log(sparsity / sparsity_before)


def _differences(image: Float[Tensor, "1 C H W"]) -> tuple[float, float]:
    """Between neighbours of the grey image: their mean square, and their mean over its root, which edges make small."""
    rims = [min(RIM, (extent - 2) // 2) for extent in image.shape[-2:]]
    grey = image.float().mean(dim=1)[..., rims[0] : image.shape[-2] - rims[0], rims[1] : image.shape[-1] - rims[1]]
    size = torch.hypot(grey.diff(dim=-1)[..., :-1, :], grey.diff(dim=-2)[..., :-1])
    energy = float(size.square().mean())
    return energy, float(size.mean()) / math.sqrt(energy) if energy else 1.0


def unexplained(consistency: float, *, noise: float) -> str | None:
    """Why a restored image is not given out that, blurred again, is not what was restored; nothing if it is.

    Args:
        consistency: PSNR of both, dB.
        noise: standard deviation of what was restored, range [0, 1].
    """
    missing = math.sqrt(max(10 ** (-consistency / 10) - noise**2, 0.0))
    if missing <= UNEXPLAINED:
        return None
    return f"blurred again, what could be restored is {255 * missing:.0f} of 255 beside it: it is no blurred photograph"


def unknown_noise(level: float) -> str:
    """Why a restorer that knows no noise is not used at this one, range [0, 1]."""
    why = f"its noise is {255 * level:.1f} of 255, which this model does not know and would draw as a pattern"
    return f"{why} (models/nonblind.safetensors knows it)"


def apparent_width(low: Float[Tensor, "1 c h w"], scale: int, *, noise: float) -> float:
    """Deviation, in low-resolution pixels, of the Gaussian that explains the image's spectrum best.

    The root of the mean variance under the kernels' likelihood, over a grid of widths.

    Args:
        low: range [0, 1].
        scale: by how much it was reduced, as is supposed.
        noise: standard deviation, range [0, 1].
    """
    first, last, count = WIDTHS
    widths = torch.logspace(math.log10(first), math.log10(last), count)
    size = 2 * math.ceil(3 * scale * last) + 1
    variances = (scale * widths) ** 2
    family = gaussian(size, variances, variances, torch.zeros(count)).to(low.device)
    score = SpectralLikelihood(low, scale, PHOTOGRAPHS, noise=noise)(family).cpu()
    weights = ((score - score.max()) / TEMPERATURE).softmax(dim=0)
    return float((weights * widths.double() ** 2).sum().sqrt())

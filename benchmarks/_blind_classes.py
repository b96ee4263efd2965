"""Low-resolution images of every kind that blind restoration meets, made of any photograph, by seed.

Thumbnails and images that nobody blurred are among them: restoring these as if they were blurred is the commonest harm.
The rim of each image is cut off after it was reduced, as a photograph's is: nothing is known of what lies outside.
Used by `benchmarks.blind`, and for choosing values on training photographs.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels
from srfoundry.degradation.operator import Decimation, degrade
from srfoundry.imaging import images, metrics, resize

SIZE = 25  # taps a side of lines, shakes and Gaussians, as USRNet's; larger Gaussians at larger scales
DISC = (1.5, 4.0)  # radii, high-resolution px
VARIANCES = (0.175, 2.5)  # of Gaussians, in multiples of the scale, px^2 (FKP)
MASK_RADII, MASK_PERCENT = (0.5, 1.2), (40, 150)  # of unsharp masks: low-resolution pixels, share of what is taken away
RIM = 8  # low-resolution pixels cut off at each side
Draw = Callable[[int, torch.Generator], Tensor]


@dataclass(frozen=True)
class Sort:
    """One class of degradations.

    Attributes:
        blur: draws a kernel for a scale; None is no blur.
        decimation: how the image is reduced: every s-th pixel, MATLAB's bicubic, or Pillow's area or Lanczos.
        noise: standard deviation, of 255.
        quality: of the JPEG file; None is no JPEG.
        grey: the photograph has no colours.
        grain: the noise is the same in all colours.
        sharpened: by an unsharp mask after the reduction, as programs do that make thumbnails.
        light: of the photograph, of what it has.
    """

    blur: Draw | None
    decimation: str = "direct"
    noise: float = 0.0
    quality: int | None = None
    grey: bool = False
    grain: bool = False
    sharpened: bool = False
    light: float = 1.0


@dataclass(frozen=True)
class Degraded:
    """A low-resolution image, and what made it.

    Attributes:
        low: of 8 bits, 1 x 3 x h x w, range [0, 1].
        high: the original, cut likewise.
        kernel: the blur before decimation, MZSR's convention; None where there was none.
        decimation: what a person would say of it; bicubic of every antialiased reduction.
        phase: high-resolution pixels from a low-resolution pixel's place to the centre of its block.
        noise: standard deviation, range [0, 1].
    """

    name: str
    low: Tensor
    high: Tensor
    kernel: Tensor | None
    decimation: Decimation
    scale: int
    phase: float
    noise: float

    def psnr_y(self, image: Tensor) -> float:
        """Of a restored image, in dB."""
        return metrics.psnr_y(image, self.high, self.scale)

    def aligned(self) -> Tensor:
        """Bicubic enlargement on the original's grid: what no restoration may be worse than."""
        return resize.cubic_at(self.low, self.scale, self.phase).clamp(0, 1)


def gaussian(scale: int, rng: torch.Generator) -> Tensor:
    """Both variances drawn uniformly from FKP's range, any angle."""
    draws = torch.rand(1, 3, generator=rng, dtype=torch.float64)
    return kernels.gaussian_at(SIZE if scale < 4 else 31, draws, [scale * value for value in VARIANCES]).float()


def line(scale: int, rng: torch.Generator) -> Tensor:
    """Straight motion of 2 s to 20 px."""
    draws = torch.rand(2, 1, generator=rng, dtype=torch.float64)
    return kernels.line(SIZE, 2 * scale + draws[0] * (20 - 2 * scale), draws[1] * torch.pi).float()


def shake(scale: int, rng: torch.Generator) -> Tensor:
    """Camera shake (Boracchi and Foi 2012), centred."""
    kernel, _ = kernels.draw_trajectory(1, size=SIZE, scale=scale, rng=rng)
    return kernels.centred(kernel)


def disc(scale: int, rng: torch.Generator) -> Tensor:
    """Defocus: a disc whose rim is drawn from 16 x 16 points a tap."""
    return kernels.disc(11, DISC[0] + torch.rand(1, generator=rng).double() * (DISC[1] - DISC[0]), fine=16)


SORTS = {
    "bicubic": Sort(None, "bicubic"),
    "area": Sort(None, "area"),
    "lanczos": Sort(None, "lanczos"),
    "bicubic_q75": Sort(None, "bicubic", quality=75),
    "bicubic_q90": Sort(None, "bicubic", quality=90),
    "area_q75": Sort(None, "area", quality=75),
    "lanczos_q90": Sort(None, "lanczos", quality=90),
    "unblurred": Sort(None),
    "gaussian": Sort(gaussian),
    "gaussian_n2": Sort(gaussian, noise=2),
    "gaussian_n5": Sort(gaussian, noise=5),
    "gaussian_n15": Sort(gaussian, noise=15),
    "gaussian_q80": Sort(gaussian, quality=80),
    "gaussian_q95": Sort(gaussian, quality=95),
    "gaussian_then_bicubic": Sort(gaussian, "bicubic"),
    "line": Sort(line),
    "shake": Sort(shake),
    "shake_n2": Sort(shake, noise=2),
    "shake_q90": Sort(shake, quality=90),
    "disc": Sort(disc),
    "disc_n5": Sort(disc, noise=5),
    "bicubic_grey": Sort(None, "bicubic", grey=True),
    "area_grey": Sort(None, "area", grey=True),
    "gaussian_grain": Sort(gaussian, noise=5, grain=True),
    "lanczos_sharpened": Sort(None, "lanczos", sharpened=True),
    "bicubic_sharpened_q85": Sort(None, "bicubic", quality=85, sharpened=True),
    "bicubic_dark": Sort(None, "bicubic", light=0.25),
    "gaussian_dark": Sort(gaussian, light=0.25),
}
UNBLURRED = tuple(name for name, sort in SORTS.items() if sort.blur is None)


def make(high: Tensor, name: str, sort: Sort, scale: int, *, rng: torch.Generator) -> Degraded:
    """One image of a class.

    Args:
        high: a photograph, 1 x 3 x H x W, range [0, 1].
        name: of the photograph.
        sort: the class.
        scale: of the reduction.
        rng: of kernel and noise, on the CPU.
    """
    high = high[..., : high.shape[-2] // scale * scale, : high.shape[-1] // scale * scale]
    if sort.grey:
        high = high.mean(dim=1, keepdim=True).expand_as(high)
    if sort.light != 1:
        high = images.from_uint8(images.to_uint8(sort.light * high))
    kernel = None if sort.blur is None else sort.blur(scale, rng)
    direct = sort.decimation == "direct"
    if kernel is not None:
        low = degrade(high, kernel, scale, decimation="direct" if direct else "bicubic", border="reflect")
    elif direct:
        low = high[..., ::scale, ::scale]
    else:
        low = _thumbnail(high, scale, sort.decimation)
    noise = sort.noise / 255
    low = low + noise * torch.randn(low[:, :1].shape if sort.grain else low.shape, generator=rng)
    low = images.from_uint8(images.to_uint8(low))
    if sort.sharpened:
        low = _sharpened(low, rng)
    if sort.quality is not None:
        low = images.jpeg(low, sort.quality)
    cut = RIM * scale
    return Degraded(
        name,
        low[..., RIM:-RIM, RIM:-RIM],
        high[..., cut:-cut, cut:-cut],
        kernel,
        "direct" if direct else "bicubic",
        scale,
        0.0 if direct else (scale - 1) / 2,
        noise,
    )


def each(photographs: Iterable[tuple[str, Tensor]], sort: str, scale: int, *, seed: int) -> Iterator[Degraded]:
    """One image of a class for each photograph, a kernel of its own in each.

    Args:
        photographs: names and images.
        sort: a name of SORTS.
        scale: of the reduction.
        seed: of kernels and noise.
    """
    for name, high in photographs:
        yield make(high, name, SORTS[sort], scale, rng=generator(seed, "blind class", sort, name, scale))


def _thumbnail(high: Tensor, scale: int, how: str) -> Tensor:
    if how == "bicubic":
        return resize.cubic(high, 1 / scale)
    picture = Image.fromarray(np.asarray(images.to_uint8(high)[0]))
    size = (high.shape[-1] // scale, high.shape[-2] // scale)
    filters = {"area": Image.Resampling.BOX, "lanczos": Image.Resampling.LANCZOS}
    return images.rgb(picture.resize(size, filters[how]))


def _sharpened(low: Tensor, rng: torch.Generator) -> Tensor:
    """Through Pillow's unsharp mask, whose Gaussian is made of three means."""
    radius, percent = (
        limits[0] + float(torch.rand((), generator=rng)) * (limits[1] - limits[0])
        for limits in (MASK_RADII, MASK_PERCENT)
    )
    picture = Image.fromarray(np.asarray(images.to_uint8(low)[0]))
    return images.rgb(picture.filter(ImageFilter.UnsharpMask(radius, round(percent), 0)))

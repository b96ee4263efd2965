"""DiffPIR (Zhu et al., CVPRW 2023): an image restored in the reverse steps of an unconditional diffusion model.

After each evaluation of the denoiser, the photograph x_0 that it expects is brought to agree with y in closed form,
and the next x_t is made from it with a share of the noise drawn anew (eq. 12 to 14). The kernel is known (`restore`),
or found on the way (`diffusion`).
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.diffusion.diffusion_model import Denoiser, deviations, nearest
from srfoundry.blind.dkp.likelihood import ROUNDING
from srfoundry.degradation.borders import join_ends
from srfoundry.degradation.conventions import Border
from srfoundry.degradation.operator import degrade
from srfoundry.imaging.tiling import Progress, count, tiled
from srfoundry.networks.nonblind.usrnet import Observation

LOWEST = 0.006  # noise of the last evaluation, range [0, 1]
TILE, OVERLAP = 192, 16  # low-resolution pixels a side that are restored at once, and that tiles reach into each other
FIRST_ALPHA = 1e-2  # of the data step from plain colour that sampling starts from

KernelAt = Callable[[int, Float[Tensor, "1 3 H W"]], Float[Tensor, "1 k k"]]


@dataclass(frozen=True)
class Sampler:
    """How the image is sampled.

    evaluations: of the denoiser (NFE). start: noise of the first, standard deviation in [0, 1]; 1 hides nearly all.
    guidance: lambda of DiffPIR, how little the data step trusts y. renoise: zeta, the share of noise drawn anew.
    floor: the least deviation of y that the data step believes in, since no kernel is exact. learn: share of the
    evaluations in which the kernel learns; in the others, the last at least, it is held.
    """

    evaluations: int
    start: float
    guidance: float
    renoise: float
    floor: float
    learn: float


def restore(
    low: Float[Tensor, "1 3 h w"],
    kernel: Float[Tensor, "1 k k"],
    *,
    scale: int,
    sampler: Sampler,
    denoiser: Denoiser,
    rng: torch.Generator,
    noise: float = 0.0,
    border: Border = "reflect",
    tile: int = TILE,
    progress: Progress | None = None,
) -> Float[Tensor, "1 3 H W"]:
    """Enlarge an image of any size whose kernel is known, with bounded memory: DiffPIR with the exact data step.

    Args:
        border: `circular` images are restored in one piece; anything else is a photograph, and so is each of its tiles,
            which are sampled one after another and cross-faded.
        tile: low-resolution pixels a side that are restored at once; more where the kernel asks for a wide overlap.
        progress: hears of (evaluations done, evaluations in all), over all tiles.
    """
    low, known = low.float(), kernel.to(low.device, torch.float32)
    periodic, reach = border == "circular", -(-(known.shape[-1] // 2) // scale)
    # half of the overlap is mere context, where what the tile's made-up surroundings spoil has no weight
    overlap = max(OVERLAP, 2 * reach)
    tile = max(tile, 4 * overlap)
    pieces = 1 if periodic else count(low.shape[-2], low.shape[-1], tile, overlap)
    total, done = pieces * len(schedule(denoiser, sampler)), itertools.count(1)

    def kernel_at(index: int, image: Tensor) -> Tensor:
        if progress is not None:
            progress(next(done), total)
        return known

    def upscale(part: Tensor) -> Tensor:
        canvas = Canvas(part, scale, known.shape[-1], periodic=periodic)
        return reverse(canvas, kernel_at, known, denoiser, sampler, noise, rng)

    return upscale(low) if periodic else tiled(upscale, low, scale, tile=tile, overlap=overlap)


class Canvas:
    """An observed image made periodic, as the closed form of the data step needs it.

    Unless it is so by itself, a gap is added at the end of each axis, in which what lies before and after the image,
    mirrored, fades into each other. `inner` is where observations depend on the image alone.
    """

    def __init__(self, low: Float[Tensor, "1 3 h w"], scale: int, size: int, *, periodic: bool) -> None:
        self.low, self.scale = low, scale
        reach = -(-(size // 2) // scale)
        self.gap, self.rim = (0, 0) if periodic else (2 * reach + 4, reach)
        self.whole = join_ends(low, (self.gap, self.gap), fade="cosine")
        self.inner = tuple(slice(self.rim, extent - self.rim) for extent in low.shape[-2:])
        if any(part.stop <= part.start for part in self.inner):
            self.inner = (slice(None), slice(None))

    def misfit(self, image: Float[Tensor, "1 3 H W"], kernel: Float[Tensor, "1 k k"]) -> Float[Tensor, "1 3 h w"]:
        """(x * k) down_s - y where no border has a say."""
        low = degrade(image, kernel, self.scale, border="circular")
        return (low - self.whole)[..., : self.low.shape[-2], : self.low.shape[-1]][..., self.inner[0], self.inner[1]]

    def solve(
        self, image: Float[Tensor, "1 3 H W"], kernel: Float[Tensor, "1 k k"], alpha: float
    ) -> Float[Tensor, "1 3 H W"]:
        """argmin over x of |(x * k) down_s - y|^2 + alpha |x - image|^2; in doubles, for it is divided by alpha."""
        strength = torch.full((1, 1, 1, 1), alpha, dtype=torch.float64, device=image.device)
        seen = Observation(self.whole.double(), kernel.double(), self.scale)
        return seen.data_step(image.double(), strength).float()

    def cut(self, image: Float[Tensor, "1 3 H W"]) -> Float[Tensor, "1 3 y x"]:
        """The image without the gap."""
        height, width = (self.scale * extent for extent in self.low.shape[-2:])
        return image[..., :height, :width].clamp(0, 1)


def reverse(
    canvas: Canvas,
    kernel_at: KernelAt,
    first: Float[Tensor, "1 k k"],
    denoiser: Denoiser,
    sampler: Sampler,
    noise: float,
    rng: torch.Generator,
) -> Float[Tensor, "1 3 H W"]:
    """The reverse process; `kernel_at(i, x_0)` says by which kernel evaluation i is brought to agree with y."""
    signal = denoiser.signal
    believed = max(math.hypot(noise, ROUNDING), sampler.floor)
    height, width = (canvas.scale * extent for extent in canvas.whole.shape[-2:])
    plain = canvas.whole.new_zeros(1, 3, height, width) + canvas.whole.mean(dim=(-2, -1), keepdim=True)
    image = canvas.solve(plain, first, FIRST_ALPHA)
    drawn = torch.randn(plain.shape, generator=rng).to(plain)
    for index, step in enumerate(schedule(denoiser, sampler)):
        kept, level = float(signal[step]), float(deviations(signal[step]))
        noisy = math.sqrt(kept) * (2 * image - 1) + math.sqrt(1 - kept) * drawn
        with torch.inference_mode():
            expected = (denoiser.torus(noisy, step, rng=rng) + 1).div(2).clamp(0, 1)
        expected = expected.clone()  # tensors of inference mode take part in no gradient
        kernel = kernel_at(index, expected)
        image = canvas.solve(expected, kernel, sampler.guidance * (believed / level) ** 2)
        implied = (noisy - math.sqrt(kept) * (2 * image - 1)) / math.sqrt(1 - kept)  # the noise, had x_0 been so
        fresh = torch.randn(plain.shape, generator=rng).to(plain)
        drawn = math.sqrt(1 - sampler.renoise) * implied + math.sqrt(sampler.renoise) * fresh
    return canvas.cut(image)


def schedule(denoiser: Denoiser, sampler: Sampler) -> list[int]:
    """The steps t that are evaluated: evenly spread over the logarithm of the noise, from `start` to almost none."""
    levels = torch.linspace(math.log(sampler.start), math.log(LOWEST), sampler.evaluations).exp()
    return sorted({nearest(denoiser, level) for level in levels.tolist()}, reverse=True)

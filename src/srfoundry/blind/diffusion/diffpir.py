"""DiffPIR (Zhu et al., CVPRW 2023): an image restored in the reverse steps of an unconditional diffusion model.

After each evaluation of the denoiser, the photograph x_0 that it expects is brought to agree with y in closed form,
and the next x_t is made from it with a share of the noise drawn anew (eq. 12 to 14). The kernel is known
(`restore_by_diffpir`), or found on the way (`diff_dkp`).
"""

import itertools
import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.diffusion.denoiser import Denoiser, deviations, nearest
from srfoundry.blind.diffusion.settings import DiffusionSampler
from srfoundry.degradation.borders import join_ends
from srfoundry.degradation.observation import Observation
from srfoundry.degradation.operator import degrade
from srfoundry.degradation.spectral_likelihood import ROUNDING
from srfoundry.imaging.tensor_tiles import tiled
from srfoundry.imaging.tiling import Progress, count
from srfoundry.networks.nonblind.usrnet import PeriodicObservation

LOWEST = 0.006  # noise of the last evaluation, range [0, 1]
TILE, OVERLAP = 192, 16  # low-resolution pixels a side that are restored at once, and that tiles reach into each other
FIRST_ALPHA = 1e-2  # of the data step from plain colour that sampling starts from

KernelAt = Callable[[int, Float[Tensor, "1 3 H W"]], Float[Tensor, "1 k k"]]


def restore_by_diffpir(
    observation: Observation,
    sampler: DiffusionSampler,
    denoiser: Denoiser,
    *,
    rng: torch.Generator,
    tile: int = TILE,
    progress: Progress | None = None,
) -> Float[Tensor, "1 3 H W"]:
    """Enlarge an image of any size whose kernel is known, with bounded memory: DiffPIR with the exact data step.

    Args:
        observation: one image and its kernel. With `circular` borders it is restored in one piece; anything else is a
            photograph, and so is each of its tiles, which are sampled one after another and cross-faded.
        rng: a CPU generator.
        tile: low-resolution pixels a side that are restored at once; more where the kernel needs a wide overlap.
        progress: is called with (evaluations done, evaluations in all), over all tiles.

    Returns:
        the image in [0, 1], where the observed one is.
    """
    assert observation.kernel is not None
    low, scale, periodic = observation.low.float(), observation.scale, observation.border == "circular"
    known = observation.kernel.to(low.device, torch.float32)
    reach = -(-(known.shape[-1] // 2) // scale)
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
        return reverse(canvas, kernel_at, known, denoiser, sampler, observation.noise, rng)

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
        """(x * k) down_s - y where it does not depend on borders."""
        low = degrade(image, kernel, self.scale, border="circular")
        return (low - self.whole)[..., : self.low.shape[-2], : self.low.shape[-1]][..., self.inner[0], self.inner[1]]

    def solve(
        self, image: Float[Tensor, "1 3 H W"], kernel: Float[Tensor, "1 k k"], alpha: float
    ) -> Float[Tensor, "1 3 H W"]:
        """argmin over x of |(x * k) down_s - y|^2 + alpha |x - image|^2; in doubles, for it is divided by alpha."""
        strength = torch.full((1, 1, 1, 1), alpha, dtype=torch.float64, device=image.device)
        seen = PeriodicObservation(self.whole.double(), kernel.double(), self.scale)
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
    sampler: DiffusionSampler,
    noise: float,
    rng: torch.Generator,
) -> Float[Tensor, "1 3 H W"]:
    """The reverse process; `kernel_at(i, x_0)` gives the kernel by which evaluation i is brought to agree with y.

    Args:
        first: the kernel of the estimate that sampling starts from.
        noise: standard deviation of the canvas's image, range [0, 1].
        rng: a CPU generator.
    """
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


def schedule(denoiser: Denoiser, sampler: DiffusionSampler) -> list[int]:
    """The steps t that are evaluated: evenly spread over the logarithm of the noise, from `start` to almost none."""
    levels = torch.linspace(math.log(sampler.start), math.log(LOWEST), sampler.evaluations).exp()
    return sorted({nearest(denoiser, level) for level in levels.tolist()}, reverse=True)

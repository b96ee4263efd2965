"""Diff-DKP (Yang et al., CVPR 2024): a kernel estimated within the reverse steps of an unconditional diffusion model.

Each evaluation of the denoiser, from much noise to none:
  x_0   the photograph that the model expects behind x_t;
  RKS   random kernels, weighed by p(k | y): k_hat = sum w k;
  PKE   steps over G_k's weights along -grad [|(x_0 * k) down_s - y|^2 + lambda KL(k_hat | k)], x_0 held;
  IR    x_0 <- argmin |(x * k) down_s - y|^2 + alpha |x - x_0|^2 in closed form, alpha = guidance (sigma_n / sigma_t)^2,
        and x_t-1 from it, with a share of the noise drawn anew (DiffPIR, Zhu et al., CVPRW 2023, eq. 12 to 14).
PKE looks at x_0 from before the data step, which makes any kernel look right. A weak model's x_0 is too smooth, so that
the data term alone makes kernels too narrow: the sampled kernels have to be strong. At the end of learning the kernel
is centred and held; the image follows it in the remaining evaluations. The low-resolution image is all that is seen.
The published program differs: it learns nothing from that image, and starts from the true kernel.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind import engine
from srfoundry.blind.engine import Estimate, Log, Row, Settings
from srfoundry.blind.prior import Family
from srfoundry.blind.spectrum import ROUNDING
from srfoundry.conventions import Border, centre_of_mass, move
from srfoundry.degrade import Decimation, degrade
from srfoundry.denoise import Denoiser, deviations, nearest
from srfoundry.errors import FoundryError
from srfoundry.networks.usrnet import Observation
from srfoundry.restore import Progress, count, tiled

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


def estimate(
    low: Float[Tensor, "1 3 h w"],
    *,
    scale: int,
    settings: Settings,
    sampler: Sampler,
    denoiser: Denoiser,
    rng: torch.Generator,
    decimation: Decimation = "direct",
    border: Border = "reflect",
    log: Log = lambda step, values: None,
    bank: Float[Tensor, "n k k"] | None = None,
) -> Estimate:
    """Estimate the blur kernel of `low` (range [0, 1], any device) from `low` alone, and its image with it.

    Args:
        settings: those of random kernels and kernel steps count. Draws are made in the first `iterations` evaluations;
            a `window` of 0 is the whole image.
        rng: a CPU generator; the same state gives the same bytes.
        log: hears of each evaluation that teaches: losses, length of the data term's gradient, draws that count.
        bank: kernels that `settings.family` bank draws from, centred on the middle tap.

    Raises:
        FoundryError: the image is too small, or its decimation bicubic. Diverged: a loss is not finite.
    """
    if decimation != "direct":
        raise FoundryError(f"diffusion undoes direct decimation only, got {decimation}; choose another method")
    prior = settings.prior(scale, bank)
    engine.check(low, scale, prior.size)
    with torch.inference_mode(False), torch.enable_grad():  # whoever calls may have switched gradients off
        return _estimate(low.float().clone(), scale, settings, prior, sampler, denoiser, rng, border, log)


def _estimate(
    low: Tensor,
    scale: int,
    settings: Settings,
    prior: Family,
    sampler: Sampler,
    denoiser: Denoiser,
    rng: torch.Generator,
    border: Border,
    log: Log,
) -> Estimate:
    box = engine.busiest(low, settings.window or max(low.shape[-2:]))
    seen = low[..., box[0] : box[0] + box[2], box[1] : box[1] + box[3]]
    periodic = border == "circular" and seen.shape == low.shape
    canvas = Canvas(seen, scale, prior.size, periodic=periodic)
    evaluations = len(schedule(denoiser, sampler))
    teachable = max(1, min(round(sampler.learn * evaluations), evaluations - 1))  # the image follows the held kernel
    learner = _Learner(low, canvas, settings, teachable, prior, rng, log)
    image = _reverse(canvas, learner, learner.kernel(), denoiser, sampler, settings.noise, rng)
    return Estimate(learner.hold(), image, box, learner.history)


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
        return _reverse(canvas, kernel_at, known, denoiser, sampler, noise, rng)

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
        self.whole = _closed(_closed(low, self.gap, -2), self.gap, -1)
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


def _reverse(
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


class _Learner:
    """RKS and PKE: called at each evaluation with x_0, it learns from it and says the kernel."""

    def __init__(
        self,
        low: Tensor,
        canvas: Canvas,
        settings: Settings,
        teachable: int,
        prior: Family,
        rng: torch.Generator,
        log: Log,
    ) -> None:
        self.canvas, self.settings, self.teachable, self.log = canvas, settings, teachable, log
        self.sampling = engine.Sampling(low, canvas.scale, prior, settings, rng)
        self.net = engine.KernelNet(prior, settings, rng, low.device)
        self.k_hat: Tensor | None = None
        self.drawn: Row = {}
        self.held: Tensor | None = None
        self.history: list[Row] = []

    def kernel(self) -> Float[Tensor, "1 k k"]:
        """The kernel so far."""
        return self.net.kernel().detach() if self.held is None else self.held

    def __call__(self, index: int, image: Float[Tensor, "1 3 H W"]) -> Float[Tensor, "1 k k"]:
        if index < self.teachable:
            self._learn(index, image)
        else:
            self.hold()
        return self.kernel()

    def hold(self) -> Float[Tensor, "1 k k"]:
        """Centre the kernel, once, and keep it."""
        if self.held is None:
            self.held = centred(self.kernel())
        return self.held

    def _learn(self, index: int, image: Tensor) -> None:
        if self.k_hat is None or index < self.settings.iterations:
            noise = max(self.settings.noise, ROUNDING)
            score = engine.residual_score(image, self.canvas.whole, self.canvas.scale, noise, border="circular")
            self.k_hat, self.drawn = self.sampling.improve(score)
        kernel = self.net.kernel()
        slopes = torch.autograd.grad(self._data(kernel, image), self.net.weights)
        slope = torch.stack([part.norm() for part in slopes]).norm()
        losses = self.net.improve(self.k_hat, image, self._data, index / max(1, self.teachable - 1))
        row = engine.numbers({**self.drawn, **losses, "slope": slope}, index)
        self.history.append({"step": float(index + 1), **row})
        self.log(index + 1, row)

    def _data(self, kernel: Tensor, image: Tensor) -> Tensor:
        """-log p(y | x_0, k) a value, at the likeliest variance of the error: a plain MSE would be lost on Adam."""
        return 0.5 * (self.canvas.misfit(image, kernel).square().mean() + ROUNDING**2).log()


def centred(kernel: Float[Tensor, "1 k k"]) -> Float[Tensor, "1 k k"]:
    """The kernel with its centre of mass on the middle tap, positive and summing to 1."""
    size = kernel.shape[-1]
    moved = move(kernel, size // 2 - centre_of_mass(kernel))
    rim = (moved.shape[-1] - size) // 2
    moved = moved[..., rim : rim + size, rim : rim + size].clamp_min(0)
    return moved / moved.sum(dim=(-2, -1), keepdim=True)


def _closed(low: Float[Tensor, "1 3 h w"], gap: int, dim: int) -> Float[Tensor, "1 3 y x"]:
    """Add `gap` pixels at the end of an axis that lead from its end back to its beginning."""
    if gap == 0:
        return low
    extent = low.shape[dim]
    fade = 0.5 - 0.5 * torch.cos(torch.pi * (torch.arange(gap, device=low.device) + 0.5) / gap)
    fade = fade.view(-1, 1) if dim == -2 else fade
    index = torch.arange(gap, device=low.device).remainder(2 * extent)
    index = torch.where(index < extent, index, 2 * extent - 1 - index)
    after = low.index_select(dim, extent - 1 - index)
    before = low.index_select(dim, index.flip(0))
    return torch.cat([low, (1 - fade) * after + fade * before], dim=dim)

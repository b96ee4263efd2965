"""Kernels of any form from one low-resolution image: sharp edges are few, so the right kernel is what explains them.

Alternating minimisation, coarse to fine (Cho and Lee 2009; Xu, Zheng and Jia 2013; Pan et al. 2014). With a kernel, the
latent image is the one of fewest edges (`latent_image`); with an image, the kernel is a least-squares problem on the
simplex (`taps`). The pyramid climbs on the low-resolution grid first, where a blur has 1/s of the taps, and goes on at
the high resolution. A non-blind network, if there is one, takes the edges' place in the last rounds, and the sharpness
of its images judges between several beginnings.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.blind.estimate import BlindObservation
from srfoundry.blind.motion_deblur import taps
from srfoundry.blind.motion_deblur.latent_image import latent
from srfoundry.blind.motion_deblur.rim import least_side, made_periodic, rims
from srfoundry.core.errors import Diverged, FoundryError
from srfoundry.core.state import Log, silent
from srfoundry.degradation import kernels
from srfoundry.degradation.noise_level import known_noise
from srfoundry.imaging import resize

# low, kernel, scale, noise -> image: USRNet or what else restores periodic images
Restore = Callable[[Tensor, Tensor, int, float], Tensor]
# equations of taps, the kernel that their image was restored with, scale, noise -> the next kernel
Step = Callable[[taps.Equations, Tensor, int, float], Tensor]

SMALLEST = 5  # taps a side at the coarsest level, about
STEP = math.sqrt(0.5)  # from a level to the next coarser


@dataclass(frozen=True)
class FreeFormSettings:
    """How a kernel is looked for.

    Args:
        edges: lambda at the coarsest level, range [0, 1] squared; each is a beginning of its own.
        fade: what lambda is divided by after each round, down to `faintest` or, at the high resolution, `least`.
        rounds: alternations at each level of the low-resolution pyramid, and at the high resolution.
        noises: standard deviations, range [0, 1], that the network is to assume at least, one for each of its rounds.
            With more than there is it returns an image that need not explain the other one to its rounding, but is a
            photograph: only then does its residual say how the kernel is wrong.
        ridge, smooth: of the kernel, on the low-resolution grid (`taps.solve`).
        smooths: of the kernel at the high resolution, from the first round to the last of these, in equal parts.
        polish: the same in the network's rounds.
        faint: taps below this part of the largest are dropped.
        minor: islands of taps that hold less than this part of the mass are dropped.
        thin: both in the network's rounds.
        learned: of the network's rounds so many, the first ones, take the learned step, if there is one.
        proved: after so many of them, each time, the kernel must be promising, or that is the result.
        promising: who is asked.
        steps: of each descent for a kernel.
        rims: of a photograph, in widths of the kernel: within the first no pixel counts, from the second on each does.
    """

    edges: tuple[float, ...] = (4e-3, 1.5e-2)
    fade: float = 1.1
    faintest: float = 1e-4
    least: float = 2e-3
    rounds: tuple[int, int] = (5, 10)
    noises: tuple[float, ...] = (0.0, 0.0)
    ridge: float = 3e-3
    smooth: float = 0.03
    smooths: tuple[float, ...] = (0.1, 0.03)
    polish: tuple[float, ...] = (0.01,)
    faint: float = 0.05
    minor: float = 0.05
    thin: float = 0.02
    learned: int = 2
    proved: tuple[int, ...] = ()
    promising: Callable[[Tensor], bool] = field(default=lambda kernel: True, compare=False)
    steps: int = 200
    rims: tuple[float, float] = (1.0, 2.0)


STANDARD = FreeFormSettings()
# From the first beginning alone, with more rounds at the high resolution, down to finer edges. 20 training photographs
# behind camera shake (BSD400, x2), USRNet with the kernel found, gain over bicubic, dB, mean (worst): as STANDARD, from
# 128 low-resolution pixels a side 1.3 (-1.7), from 192 1.9 (-1.5); from these with finer edges 2.2 (-1.1), as here 2.4
# (-0.5), with 20 rounds 2.6 (-0.5).
QUICK = FreeFormSettings(edges=STANDARD.edges[:1], rounds=(5, 15), least=1e-3, steps=100)
CLIMB = replace(QUICK, rounds=(5, 0))
# With a network that denoises. At the high resolution one round of few edges (lambda 1e-3) turns the true kernel of
# three photographs into one that restores them by 0.0, 1.9 and 4.2 dB, where it restores them by 10.1, 10.2 and 6.8
# itself; one through USRNet that assumes noise of 10 of 255 loses 0.2 of the 10.1. The rim is less than half a kernel,
# but little of a kernel lies at its ends, and a window has few pixels: from 112 low-resolution ones a side, none
# counting within a kernel's width, a half, a third or a sixth of it, 24 photographs gain 3.0, 3.2, 3.4 and 3.4 dB.
RESTORED = replace(
    CLIMB,
    edges=(),
    noises=(10 / 255,) * 3 + (5 / 255,) * 3,
    proved=(1, 3),
    polish=STANDARD.smooths,
    thin=STANDARD.faint,
    rims=(1 / 3, 1.0),
)


def find_free_form_kernel(
    observation: BlindObservation,
    size: int,
    settings: FreeFormSettings = STANDARD,
    *,
    rng: torch.Generator,
    start: Float[Tensor, "1 j j"] | None = None,
    restore: Restore | None = None,
    step: Step | None = None,
    log: Log = silent,
) -> Float[Tensor, "1 k k"]:
    """Find the kernel that an image was blurred with, before every `scale`-th of its pixels was kept.

    Args:
        observation: the image. A border of `reflect` stands for all that is unknown: the rim does not count. The noise
            is what `restore` is conditioned on, and raises lambda; None is estimated.
        size: taps a side of the result, odd; the blur should fit in.
        settings: how to look.
        rng: draws the directions of the first guesses.
        start: one more guess, at the high resolution, of any odd size.
        restore: a non-blind network for periodic images. Without it the last rounds are left out, and the latent
            images of the L0 solver are judged.
        step: a learned one from taps to a kernel in the first of the network's rounds; in the others they are pruned.
        log: takes, for each beginning, its figure: the normalised sparsity |grad x|_1 / |grad x|_2 (Krishnan 2011),
            which is the least for the sharpest image, while a wrong kernel rings and a narrow one leaves blur.

    Raises:
        FoundryError: an even size, an image too small for it, or one of a single colour.
        Diverged: no kernel is finite.
    """
    check(observation, size)
    with torch.inference_mode():
        search = Search(observation, size, settings)
        guesses = [search.climb(edges, rng=rng) for edges in settings.edges]
        if start is not None:
            guesses.append((taps.resampled(start.float(), size, 1.0), settings.least))
        best, least = None, math.inf
        for index, (kernel, edges) in enumerate(guesses):
            kernel, image = search.refine(kernel, edges)
            if restore is not None and settings.noises:
                kernel, image = search.polish(kernel, restore, step)
                if len(guesses) > 1:
                    image = search.restored(kernel, restore)
            figure = search.sparsity(image)
            log(index, {"sparsity": figure})
            if figure < least:  # one that is no number is never the best
                best, least = kernel, figure
        if best is None:
            raise Diverged("kernel estimation: no beginning led to a finite image; choose another estimate.method")
        best = _in_the_middle(best)
    return best.clone()


def check(observation: BlindObservation, size: int) -> None:
    """Refuse what no kernel can be found from.

    Raises:
        FoundryError: see `find_free_form_kernel`.
    """
    if size < 3 or size % 2 == 0:
        raise FoundryError(f"size must be odd and 3 or more, got {size}; the kernel needs a middle tap")
    low, scale = observation.low, observation.scale
    periodic = observation.sampling.border == "circular"
    least = max(16, 2 * size // scale) if periodic else least_side(size, scale)
    if min(low.shape[-2:]) < least:
        got = f"{low.shape[-2]}x{low.shape[-1]}"
        raise FoundryError(
            f"image of {got} is too small for a kernel of {size} taps at scale {scale}; "
            f"give {least} pixels a side or more, or fewer taps"
        )
    if not float((low - low[..., :1, :1]).abs().max()) > 0:
        raise FoundryError("image of a single colour has no edges to find a kernel from; give another image")


class Search:
    """The alternation of kernel and latent image over one image.

    Attributes:
        low: the image, periodic.
        grey: its grey version, which all but the network's rounds work on.
        weight: how much each of its pixels counts; None where all do.
    """

    def __init__(self, observation: BlindObservation, size: int, settings: FreeFormSettings) -> None:
        self.scale, self.size, self.settings = observation.scale, size, settings
        low = observation.low.float()
        self.low: Tensor = low
        self.weight: Tensor | None = None
        if observation.sampling.border != "circular":
            self.low, self.weight = made_periodic(low, *rims(size, self.scale, settings.rims))
        self.grey = self.low.mean(dim=1, keepdim=True)
        self.noise = known_noise(low) if observation.noise is None else observation.noise

    def climb(self, edges: float, *, rng: torch.Generator) -> tuple[Float[Tensor, "1 k k"], float]:
        """From coarse to fine on the low-resolution grid; the kernel at its end, at the high resolution, and lambda."""
        scale, settings = self.scale, self.settings
        whole = _odd(self.size / scale + 1) if scale > 1 else self.size
        levels = max(0, math.floor(math.log(SMALLEST / whole) / math.log(STEP))) + 1
        angle = float(torch.rand((), generator=rng, device=rng.device)) * math.pi
        kernel = kernels.line(3, torch.tensor([1.5]), torch.tensor([angle])).to(self.grey)
        for level in range(levels, -1, -1):
            taken = _odd(whole * STEP**level + 0.5)
            view, weight = self._at(level)
            kernel = taps.resampled(kernel, taken, 1.0 if level == levels else 1 / STEP)
            for _ in range(settings.rounds[0]):
                image = latent(view, kernel, scale=1, edges=edges)
                normal = taps.equations(image, view, scale=1, size=taken, weight=weight)
                kernel = self._settled(self._solved(normal, settings.smooth))
                edges = self._faded(edges)
        return (
            taps.resampled(kernel, self.size, float(scale)) if scale > 1 else kernel,
            max(edges, settings.least),
        )

    def refine(
        self, kernel: Float[Tensor, "1 k k"], edges: float
    ) -> tuple[Float[Tensor, "1 k k"], Float[Tensor, "1 1 H W"]]:
        """The same alternation at the high resolution."""
        scale, settings = self.scale, self.settings
        count = settings.rounds[1] if scale > 1 else 1
        image = latent(self.grey, kernel, scale=scale, edges=edges)
        for index in range(count):
            smooth = settings.smooths[index * len(settings.smooths) // count] if scale > 1 else settings.smooth
            normal = taps.equations(image, self.grey, scale=scale, size=kernel.shape[-1], weight=self.weight)
            kernel = self._settled(self._solved(normal, smooth))
            edges = self._faded(edges)
            image = latent(self.grey, kernel, scale=scale, edges=edges)
        return kernel, image

    def polish(
        self, kernel: Float[Tensor, "1 k k"], restore: Restore, step: Step | None = None
    ) -> tuple[Float[Tensor, "1 k k"], Float[Tensor, "1 c H W"]]:
        """The same alternation with the network's images, in colour; the kernel, and the last image."""
        scale, settings, count = self.scale, self.settings, len(self.settings.noises)
        image = self.low
        for index, noise in enumerate(settings.noises):
            if index in settings.proved and not settings.promising(_in_the_middle(kernel)):
                break
            image = self.restored(kernel, restore, noise=noise).clamp(0, 1)
            normal = taps.equations(image, self.low, scale=scale, size=kernel.shape[-1], weight=self.weight)
            if step is not None and index < settings.learned:
                kernel = step(normal, kernel, scale, self.noise)
                continue
            solved = self._solved(normal, settings.polish[index * len(settings.polish) // count])
            kernel = taps.pruned(solved, faint=settings.thin, minor=settings.thin)
        return kernel, image

    def restored(
        self, kernel: Float[Tensor, "1 k k"], restore: Restore, *, noise: float = 0.0
    ) -> Float[Tensor, "1 c H W"]:
        """The network's image with the kernel, centred, under this noise at least."""
        return restore(self.low, kernels.centred(kernel), self.scale, max(noise, self.noise))

    def sparsity(self, image: Float[Tensor, "1 c H W"]) -> float:
        """|grad x|_1 / |grad x|_2 of a sharp image where its pixels count, over the root of their number."""
        grey = image.mean(dim=1, keepdim=True)
        edge = torch.hypot(*(grey.roll(-1, axis) - grey for axis in (-2, -1)))
        if self.weight is not None:
            edge = edge * functional.interpolate(self.weight, scale_factor=self.scale, mode="bilinear")
        return float(edge.sum() / edge.square().sum().sqrt()) / math.sqrt(edge.numel())

    def _at(self, level: int) -> tuple[Tensor, Tensor | None]:
        """Image and weights at a level of the pyramid; 0 is the image itself."""
        if not level:
            return self.grey, self.weight
        ratio = STEP**level
        weight = None if self.weight is None else resize.cubic(self.weight, ratio).clamp(0, 1)
        return resize.cubic(self.grey, ratio), weight

    def _solved(self, normal: taps.Equations, smooth: float) -> Float[Tensor, "1 k k"]:
        return taps.solve(normal, ridge=self.settings.ridge, smooth=smooth, steps=self.settings.steps)

    def _settled(self, kernel: Float[Tensor, "1 k k"]) -> Float[Tensor, "1 k k"]:
        """The kernel without faint taps and small islands, in the middle."""
        return taps.settled(taps.pruned(kernel, faint=self.settings.faint, minor=self.settings.minor))

    def _faded(self, edges: float) -> float:
        """Lambda after a round."""
        return max(edges / self.settings.fade, self.settings.faintest, self.noise**2)


def _in_the_middle(kernel: Float[Tensor, "1 k k"]) -> Float[Tensor, "1 k k"]:
    """What ringing and rim are cut off moves a sharp kernel again, so it is centred some times."""
    for _ in range(3):
        kernel = kernels.centred(kernel)
    return kernel


def _odd(value: float) -> int:
    return max(3, 2 * math.floor(value / 2) + 1)

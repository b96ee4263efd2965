"""A learned kernel made exact: few rounds of few-edges images, then a restorer's, and of taps on the simplex.

What the networks find has the right reach and direction, but is blurred; the alternation of Xu, Zheng and Jia (2013),
which from nothing often ends in a wrong kernel, sharpens it. Both steps are those of `motion_deblur`, at the high
resolution alone, with the taps' descent begun where the last one ended.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.motion_deblur import taps
from srfoundry.blind.motion_deblur.freeform import Restore
from srfoundry.blind.motion_deblur.latent_image import latent
from srfoundry.blind.nonblind_restoration import make_periodic
from srfoundry.blind.unfolded import closed_forms
from srfoundry.degradation import kernels


@dataclass(frozen=True)
class Refinement:
    """How a kernel is refined.

    Args:
        rounds: of latent image and taps.
        edges: lambda of the first round, range [0, 1] squared; it is divided by `fade` after each.
        fade: see above.
        smooths: of the kernel, from the first round to the last, geometrically.
        ridge: of the kernel.
        descent: steps of the taps in a round.
        growth: of the splitting's weight (`latent_image.latent`).
        faint, minor: what is dropped of the kernel (`taps.pruned`).
    """

    rounds: int = 6
    edges: float = 2e-3
    fade: float = 1.2
    smooths: tuple[float, float] = (0.1, 0.02)
    ridge: float = 3e-3
    descent: int = 40
    growth: float = 3.0
    faint: float = 0.05
    minor: float = 0.05


STANDARD = Refinement()


@torch.no_grad()
def refined(
    low: Float[Tensor, "1 1 h w"],
    kernel: Float[Tensor, "1 k k"],
    scale: int,
    *,
    noise: float,
) -> Float[Tensor, "1 k k"]:
    """The alternation of few-edges images and taps from a kernel on.

    Args:
        low: grey window, range [0, 1]; its borders do not count.
        kernel: to begin with.
        scale: of the reduction.
        noise: standard deviation; lambda is at least its square.
    """
    joined = make_periodic(low, kernel.shape[-1], scale)
    height, width = (scale * extent for extent in low.shape[-2:])
    edges = STANDARD.edges
    for number in range(STANDARD.rounds):
        image = latent(joined, kernel, scale=scale, edges=max(edges, noise**2), growth=STANDARD.growth)
        normal = closed_forms.equations(image[..., :height, :width], low, scale, kernel.shape[-1])
        share = number / max(1, STANDARD.rounds - 1)
        smooth = STANDARD.smooths[0] * (STANDARD.smooths[1] / STANDARD.smooths[0]) ** share
        found = simplex_taps(normal, kernel, ridge=STANDARD.ridge, smooth=smooth, steps=STANDARD.descent)
        kernel = taps.settled(taps.pruned(found, faint=STANDARD.faint, minor=STANDARD.minor))
        edges /= STANDARD.fade
    return kernels.centred(kernel)


def simplex_taps(
    normal: tuple[Float[Tensor, "1 n n"], Float[Tensor, "1 n"]],
    start: Float[Tensor, "1 k k"],
    *,
    ridge: float,
    smooth: float,
    steps: int,
) -> Float[Tensor, "1 k k"]:
    """As `taps.solve`, in float32 and from a kernel on."""
    size = start.shape[-1]
    unit = closed_forms.spread_of(normal[0])[:, None]
    gram = normal[0][0] / unit + smooth * taps.roughness(size).to(start)
    gram.diagonal().add_(ridge)
    right = normal[1][0] / unit[0]
    kernel = taps.descended((gram, right), start.flatten(), steps=steps, powers=12, margin=1.1)
    return kernel.view(1, size, size)


@torch.no_grad()
def best_of(
    low: Float[Tensor, "1 c h w"],
    learned: Float[Tensor, "1 k k"],
    scale: int,
    *,
    noise: float,
    restore: Restore,
) -> tuple[Float[Tensor, "1 k k"], list[dict[str, float]]]:
    """Of the learned kernel, the refined one and one more round with a restorer's image, the one of the sharpest image.

    The normalised sparsity |grad x|_1 / |grad x|_2 (Krishnan 2011) of the restorer's images judges: it is the least
    for the sharpest, while a wrong kernel rings and a narrow one leaves blur. Chosen on training photographs.

    Args:
        low: window in colour, range [0, 1]; its borders do not count.
        learned: to begin with.
        scale: of the reduction.
        noise: standard deviation, which the restorer is conditioned on.
        restore: restores periodic images.

    Returns:
        the kernel, and the figure `sparsity` of each of the three.
    """
    seamless, grey = make_periodic(low, learned.shape[-1], scale), low.mean(dim=1, keepdim=True)
    height, width = (scale * extent for extent in low.shape[-2:])

    def restored(kernel: Tensor) -> Tensor:
        image = restore(seamless, kernel, scale, noise)[..., :height, :width]
        return image.float().clamp(0, 1).mean(dim=1, keepdim=True)

    kernels_found = [learned, refined(grey, learned, scale, noise=noise)]
    images = [restored(kernel) for kernel in kernels_found]
    normal = closed_forms.equations(images[1], grey, scale, learned.shape[-1])
    smooth = STANDARD.smooths[1] / 2
    found = simplex_taps(normal, kernels_found[1], ridge=STANDARD.ridge, smooth=smooth, steps=STANDARD.descent)
    kernels_found.append(kernels.centred(taps.pruned(found, faint=STANDARD.faint / 2, minor=STANDARD.minor / 2)))
    images.append(restored(kernels_found[2]))
    figures = [sparsity(image) for image in images]
    rows = [{"sparsity": figure} for figure in figures]
    # one that is no number is never the best
    best = min(range(3), key=lambda index: figures[index] if math.isfinite(figures[index]) else math.inf)
    return kernels_found[best], rows


def sparsity(image: Float[Tensor, "1 1 H W"]) -> float:
    """|grad x|_1 / |grad x|_2 away from the borders, over the root of their number."""
    rim = min(8, image.shape[-1] // 4, image.shape[-2] // 4)
    inner = image[..., rim:-rim, rim:-rim]
    edge = torch.hypot(inner[..., 1:, :-1] - inner[..., :-1, :-1], inner[..., :-1, 1:] - inner[..., :-1, :-1])
    return float(edge.sum() / edge.square().sum().sqrt()) / math.sqrt(edge.numel())

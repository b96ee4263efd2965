"""The kernel of a known image, tap by tap: least squares on the simplex, with the normal equations set up exactly.

An image blurred and decimated is linear in the kernel, y[p] = sum over d of k[d] x[s p + d]. With periodic borders the
Gram matrix of that map holds nothing but cross-correlations of the s x s phases of x, so a few small Fourier transforms
replace the tall matrix of patches. What is left is a quadratic in k^2 unknowns over k >= 0, sum k = 1.
"""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from srfoundry.core.compute import running_sum, sent
from srfoundry.core.errors import FoundryError
from srfoundry.degradation import conventions, kernels

Equations = tuple[Float[Tensor, "n n"], Float[Tensor, " n"]]


def equations(
    high: Float[Tensor, "1 c H W"],
    low: Float[Tensor, "1 c h w"],
    *,
    scale: int,
    size: int,
    weight: Float[Tensor, "1 1 h w"] | None = None,
) -> Equations:
    """Normal equations (A'A, A'b) of the taps, row by row, from differences between neighbours of low, periodic.

    Differences, since flat regions say nothing of a blur, and a wrong brightness of `high` shall not either. The
    neighbours of `low` are `scale` pixels apart in `high`, so the equations stay exact.

    Args:
        weight: smooth weights in [0, 1] where the low-resolution image counts. They multiply both images, which is
            exact where they change little within a kernel's width.
    """
    rows = torch.arange(size, device=low.device) - size // 2
    phase = torch.remainder(rows, scale)
    way = (rows - phase) // scale
    phases = (phase[:, None] * scale + phase).flatten()
    down, right = (axis.flatten() for axis in torch.meshgrid(way, way, indexing="ij"))
    height, width = low.shape[-2:]
    gram = low.new_zeros(size * size, size * size, dtype=torch.float64)
    right_side = gram.new_zeros(size * size)
    fine = None if weight is None else functional.interpolate(weight, scale_factor=scale, mode="bilinear")
    for axis in (-2, -1):
        step, wanted = high.roll(-scale, axis) - high, low.roll(-1, axis) - low
        if weight is not None and fine is not None:
            step, wanted = step * fine, wanted * weight
        for channel in range(low.shape[1]):
            parts = functional.pixel_unshuffle(step[0, channel, None], scale)
            spectra = torch.fft.rfft2(parts)
            seen = torch.fft.rfft2(wanted[0, channel])
            pairs = torch.fft.irfft2(spectra[:, None].conj() * spectra, s=(height, width))
            across = torch.fft.irfft2(seen.conj() * spectra, s=(height, width))
            gram += pairs[phases[:, None], phases, (down - down[:, None]) % height, (right - right[:, None]) % width]
            right_side += across[phases, down % height, right % width]
    return gram, right_side


def solve(normal: Equations, *, ridge: float, smooth: float, steps: int = 200) -> Float[Tensor, "1 k k"]:
    """Minimise k'Gk / 2 - b'k + d (ridge |k|^2 + smooth |grad k|^2) / 2 over the simplex; d: mean diagonal of G.

    Without `smooth` the kernel of an image that is itself a guess gathers on one of the s x s phases: a sum of
    low-resolution blurs, to which low-resolution images cannot object.

    Args:
        normal: the equations G, b.
        ridge: weight of the kernel's square.
        smooth: weight of its roughness.
        steps: of the descent.

    Raises:
        FoundryError: the image has no edges, and so the equations say nothing.
    """
    gram, right_side = normal
    size = math.isqrt(len(right_side))
    unit = float(gram.diagonal().mean())
    if not unit > 0:
        raise FoundryError("image has no edges to find a kernel from; give another one, or choose another method")
    gram = gram + unit * smooth * roughness(size).to(gram)
    gram.diagonal().add_(unit * ridge)
    start = torch.full_like(right_side, 1 / len(right_side))
    kernel = descended((gram, right_side), start, steps=steps, powers=15, margin=1.05)
    return kernel.view(1, size, size).float()


def descended(
    normal: Equations, start: Float[Tensor, " n"], *, steps: int, powers: int, margin: float
) -> Float[Tensor, " n"]:
    """Minimise k'Gk / 2 - b'k over the simplex, from `start` on.

    Accelerated projected gradients (Beck and Teboulle 2009) with restarts (O'Donoghue and Candes 2015). No step waits
    for a GPU: whether the momentum starts anew is decided there.

    Args:
        normal: the equations G, b.
        start: the taps to begin with, in the precision of the equations.
        steps: of the descent.
        powers: products with G that its largest eigenvalue, and so the pace, is found by.
        margin: by how much that may be too small.
    """
    gram, right_side = normal
    steepest = torch.ones_like(right_side)
    for _ in range(powers):
        steepest = gram @ steepest
        steepest = steepest / steepest.norm()
    pace = 1 / (margin * float(steepest @ (gram @ steepest)))
    shares = sent(torch.tensor(_momentum(steps), dtype=start.dtype), start.device)
    since = torch.zeros(1, dtype=torch.long, device=start.device)  # steps since the momentum started anew
    kernel = ahead = start
    for _ in range(steps):
        following = on_simplex(ahead - pace * (gram @ ahead - right_side))
        since = since.masked_fill((ahead - following) @ (following - kernel) > 0, 0)
        ahead = following + shares.gather(0, since) * (following - kernel)
        kernel, since = following, since + 1
    return kernel


def on_simplex(point: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The nearest point with no negative value and sum 1."""
    falling = point.sort(descending=True).values
    excess = (running_sum(falling) - 1) / torch.arange(1, len(point) + 1, dtype=point.dtype, device=point.device)
    # None lies above where there are no numbers, but an index it has to be: a GPU would stop for good.
    last = ((falling > excess).sum() - 1).remainder(len(point))
    return (point - excess.gather(0, last[None])).clamp_min(0)


def _momentum(steps: int) -> list[float]:
    """The share of its way that a step is followed further, by the number of steps since the momentum started anew."""
    shares, momentum = [], 1.0
    for _ in range(steps):
        faster = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        shares.append((momentum - 1) / faster)
        momentum = faster
    return shares


def pruned(kernel: Float[Tensor, "1 k k"], *, faint: float, minor: float = 0.1) -> Float[Tensor, "1 k k"]:
    """Drop taps below `faint` of the largest, and islands that hold less than `minor` of the mass but the heaviest."""
    kept = torch.where(kernel < faint * kernel.max(), 0.0, kernel)
    islands, count = _islands(kept[0].cpu().numpy() > 0)
    whole = float(kept.sum())
    places = [torch.from_numpy(islands == island).to(kept.device)[None] for island in range(1, count + 1)]
    masses = [float(kept[inside].sum()) for inside in places]
    for inside, mass in zip(places, masses, strict=True):
        if mass < minor * whole and mass < max(masses):
            kept = torch.where(inside, 0.0, kept)
    return kernels.normalise(kept)


def settled(kernel: Float[Tensor, "1 k k"]) -> Float[Tensor, "1 k k"]:
    """Move the centre of mass to the middle tap by whole pixels, which keeps all taps as they are."""
    way = ((kernel.shape[-1] - 1) / 2 - conventions.centre_of_mass(kernel)[0]).round().long().tolist()
    return kernel.roll(way, (-2, -1))


def resampled(kernel: Float[Tensor, "1 k k"], size: int, ratio: float) -> Float[Tensor, "1 j j"]:
    """The same blur on a grid `ratio` times as fine, cut or padded to `size` taps a side."""
    axis = (torch.arange(size, device=kernel.device) - size // 2) / (ratio * kernel.shape[-1] / 2)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([columns, rows], dim=-1)[None]
    return kernels.normalise(functional.grid_sample(kernel[None], grid, mode="bilinear", align_corners=False)[0])


def _islands(mask: Bool[ndarray, "k k"]) -> tuple[Int[ndarray, "k k"], int]:
    """Number the connected parts, corners included."""
    islands = np.zeros(mask.shape, dtype=np.int32)
    count = ndimage.label(mask, structure=np.ones((3, 3)), output=islands)
    assert isinstance(count, int)  # scipy returns the count alone where it is given an output
    return islands, count


def roughness(size: int) -> Float[Tensor, "n n"]:
    """The matrix of sum |k - neighbour|^2."""
    line = 2 * torch.eye(size) - torch.diag(torch.ones(size - 1), 1) - torch.diag(torch.ones(size - 1), -1)
    line[0, 0] = line[-1, -1] = 1
    same = torch.eye(size)
    return torch.kron(line, same) + torch.kron(same, line)

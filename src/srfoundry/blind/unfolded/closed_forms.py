"""What needs no network: the image under a known kernel, and the taps under a known image, both under decimation.

All is batched, one kernel an image, in float32, on any device.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.blind.nonblind_restoration import make_periodic
from srfoundry.degradation.aliasing import fold, transfer, unfold

WIDEST = 64.0  # high-resolution px: longer waves of photographs are as strong as these
LAPLACE = ((0.0, -1.0, 0.0), (-1.0, 4.0, -1.0), (0.0, -1.0, 0.0))


def wiener(
    low: Float[Tensor, "b 1 h w"], kernel: Float[Tensor, "b k k"], scale: int, noises: Sequence[Float[Tensor, " b"]]
) -> Float[Tensor, "b v H W"]:
    """The linear restoration of least mean square error: E[x | y = (x * k) down_s + n] for a spectrum of 1 / f^2.

    x = S A' (A S A' + sigma^2)^-1 y, exact under the s-fold aliasing for periodic images; the ends are joined.

    Args:
        low: of mean 0 and deviation 1.
        kernel: a correlation about its middle tap.
        scale: s.
        noises: standard deviations that the restorations assume.
    """
    height, width = (scale * extent for extent in low.shape[-2:])
    seamless = make_periodic(low, kernel.shape[-1], scale)
    whole = (scale * seamless.shape[-2], scale * seamless.shape[-1])
    gain, prior = transfer(kernel, whole)[:, None], _photographs(whole, low.device)
    power = fold(prior * gain.abs().square(), scale, seamless.shape[-1])
    seen, back = torch.fft.rfft2(seamless), prior * gain.conj()
    found = []
    for noise in noises:
        weighed = seen / (power + noise.square().view(-1, 1, 1, 1))
        restored = torch.fft.irfft2(back * unfold(weighed, scale, seamless.shape[-1]), s=whole)
        found.append(restored[..., :height, :width])
    return torch.cat(found, dim=1)


def equations(
    high: Float[Tensor, "b 1 H W"], low: Float[Tensor, "b 1 h w"], scale: int, size: int
) -> tuple[Float[Tensor, "b n n"], Float[Tensor, "b n"]]:
    """Normal equations of the taps, as `motion_deblur.taps.equations`, for a batch of photographs.

    From differences of neighbours of `low`. The rim does not count: what it saw of the blur is unknown.
    """
    fine_weight, weight = (_rim(low.shape[-2:], size, scale, finer, low.device) for finer in (scale, 1))
    index, phases, lags = _places(size, scale, tuple(low.shape[-2:]), low.device)
    pairs, across = None, None
    for axis in (-2, -1):
        step = (high.roll(-scale, axis) - high) * fine_weight
        spectra = torch.fft.rfft2(functional.pixel_unshuffle(step, scale))
        seen = torch.fft.rfft2((low.roll(-1, axis) - low) * weight)
        both, cross = spectra[:, :, None].conj() * spectra[:, None], seen.conj() * spectra
        pairs = both if pairs is None else pairs + both
        across = cross if across is None else across + cross
    assert pairs is not None and across is not None
    extent = tuple(low.shape[-2:])
    lagged = torch.fft.irfft2(pairs, s=extent).flatten(1)
    right = torch.fft.irfft2(across, s=extent).flatten(2)
    return torch.stack([row[index] for row in lagged]), right[:, phases, lags]


def least_squares(
    normal: tuple[Float[Tensor, "b n n"], Float[Tensor, "b n"]],
    before: Float[Tensor, "b f k k"],
    *,
    ridge: Float[Tensor, "b f"],
    smooth: Float[Tensor, "b f"],
    steps: int = 14,
) -> Float[Tensor, "b f k k"]:
    """Taps c + t, t minimising t'Gt / 2 - (b - Gc)'t + d (ridge |t|^2 + smooth |grad t|^2) / 2, for several weights.

    By conjugate gradients, all in one pass over G a step: with such weights some steps do.

    Args:
        normal: the equations G, b.
        before: c, the taps that solutions are drawn to.
        ridge, smooth: in units of d, the mean diagonal of G.
        steps: of the descent.
    """
    gram, right = normal
    unit = spread_of(gram).view(-1, 1, 1)
    size, count = before.shape[-1], before.shape[1]
    laplace = torch.tensor(LAPLACE, device=gram.device).expand(count, 1, 3, 3)

    def explained(taps: Tensor) -> Tensor:
        return torch.bmm(gram, taps.flatten(2).mT).mT.unflatten(2, (size, size)) / unit[..., None]

    def applied(taps: Tensor) -> Tensor:
        rough = functional.conv2d(taps, laplace, padding=1, groups=count)
        return explained(taps) + ridge[..., None, None] * taps + smooth[..., None, None] * rough

    rest = (right[:, None] / unit).unflatten(2, (size, size)) - explained(before)
    taps, way, square = torch.zeros_like(rest), rest, rest.square().sum(dim=(-2, -1), keepdim=True)
    for _ in range(steps):
        image = applied(way)
        pace = square / (way * image).sum(dim=(-2, -1), keepdim=True).clamp_min(1e-20)
        taps, rest = taps + pace * way, rest - pace * image
        following = rest.square().sum(dim=(-2, -1), keepdim=True)
        way, square = rest + following / square.clamp_min(1e-20) * way, following
    return before + taps


def spread_of(gram: Float[Tensor, "b n n"]) -> Float[Tensor, " b"]:
    """d, the mean diagonal of a Gram matrix: the energy of the differences that its equations are made of."""
    return gram.diagonal(dim1=1, dim2=2).mean(dim=1).clamp_min(1e-12)


def autocorrelations(low: Float[Tensor, "b 1 h w"], scale: int, size: int) -> Float[Tensor, "b 2 k k"]:
    """Of the differences down and across, on the grid of a kernel's taps; 1 in the middle."""
    reach = -(-size // (2 * scale)) + 1
    weight = _rim(low.shape[-2:], size, scale, 1, low.device)
    steps = torch.cat([(low.roll(-1, axis) - low) * weight for axis in (-2, -1)], dim=1)
    lagged = torch.fft.irfft2(torch.fft.rfft2(steps).abs().square(), s=tuple(low.shape[-2:]))
    near = lagged.roll((reach, reach), (-2, -1))[..., : 2 * reach + 1, : 2 * reach + 1]
    near = near / near[..., reach, reach][..., None, None].clamp_min(1e-9)
    axis = (torch.arange(size, device=low.device) - size // 2) / (scale * reach)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([columns, rows], dim=-1)[None].expand(len(low), -1, -1, -1)
    return functional.grid_sample(near, grid, mode="bicubic", align_corners=True)


def _photographs(size: tuple[int, int], device: torch.device) -> Float[Tensor, "H w2"]:
    """Half the spectrum of photographs of deviation 1."""
    rows, columns = (torch.fft.fftfreq(extent, device=device) for extent in size)
    spectrum = 1 / (rows[:, None].square() + columns.square() + WIDEST**-2)
    return spectrum[:, : size[1] // 2 + 1] / spectrum.mean()


def _rim(extents: Sequence[int], size: int, scale: int, finer: int, device: torch.device) -> Float[Tensor, "H W"]:
    """How much pixels count: none at the border, all from a kernel's reach on, on a grid `finer` times as fine."""
    reach, weights = size / (2 * scale), []
    for extent in extents:
        place = (torch.arange(finer * extent, device=device) + 0.5) / finer
        away = torch.minimum(place, extent - place) / min(reach, extent / 4)
        weights.append(((away - 0.4) / 0.9).clamp(0, 1).mul(math.pi).cos().mul(-0.5).add(0.5))
    return weights[0][:, None] * weights[1]


@lru_cache(maxsize=8)
def _places(size: int, scale: int, extent: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Where the lags of all pairs of taps lie among the phases' correlations, and those of single taps.

    On the device, where they stay: for 31 taps a side the first is 7 MB.
    """
    rows = torch.arange(size) - size // 2
    phase = torch.remainder(rows, scale)
    way = (rows - phase) // scale
    phases = (phase[:, None] * scale + phase).flatten()
    down, right = (axis.flatten() for axis in torch.meshgrid(way, way, indexing="ij"))
    height, width = extent
    pair = phases[:, None] * scale**2 + phases
    lag = (down - down[:, None]) % height * width + (right - right[:, None]) % width
    found = pair * (height * width) + lag, phases, down % height * width + right % width
    return found[0].to(device), found[1].to(device), found[2].to(device)

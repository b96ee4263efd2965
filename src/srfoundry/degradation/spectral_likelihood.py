"""How likely a low-resolution image is under a blur kernel, with the sharp image integrated out.

While the sharp image is frozen there is no signal: an image fits the kernel it was made with best. So it is
marginalised here. In a small tile a photograph is taken for a Gaussian process whose power falls as c |f|^-alpha;
blurred and decimated it has the folded spectrum

    S(f) = c (sum over aliases of |f_a|^-alpha |K(f_a)|^2 + ratio)

and its periodogram I the likelihood prod exp(-I / S) / S (Whittle 1953). The level c is integrated out exactly (scale
invariant prior), alpha and the noise ratio over a grid, in each tile apart. It works for kernels of any form.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.core.compute import is_gpu
from srfoundry.core.errors import FoundryError
from srfoundry.degradation.settings import SpectrumModel

ROUNDING = 1 / 255 / math.sqrt(12)  # deviation of the error of 8 bits, range [0, 1]
NOISE_SPREAD = 0.7  # deviation of the logarithm of the noise variance: how well the noise is known
EXPONENTS = 9  # grid points of alpha, out to 2.5 deviations
RATIOS = (1e-5, 1.0, 9)  # grid of noise over level
LOWEST = 0.15  # radians a pixel: below it the window's main lobe hides the spectrum
# Kernels at once on a GPU, and on a CPU, whose cache holds the few megabytes of so few: twice to three times as quick.
AT_ONCE, CACHED = 64, 4
LEAK = (1 / 6, 2 / 3, 1 / 6)  # of a Hann window's power, from a frequency into itself and its neighbours, along an axis


class SpectralLikelihood:
    """log p(low | kernel) of batches of kernels, computed on the image's device.

    Args:
        low: the image, range [0, 1].
        scale: by how much it was reduced.
        model: of photographs: tiles, their spectra, and the blur that is theirs.
        noise: standard deviation of the noise of `low`, range [0, 1]; rounding to 8 bits counts.
        leaks: take the window's leakage into account; for kernels whose spectrum has zeros.

    Raises:
        FoundryError: the image is too small to hold a tile with a spectrum.
    """

    def __init__(
        self, low: Float[Tensor, "1 c h w"], scale: int, model: SpectrumModel, *, noise: float, leaks: bool = False
    ) -> None:
        size = min(model.tile, *low.shape[-2:])
        if size < 8:
            got = f"{low.shape[-2]}x{low.shape[-1]}"
            raise FoundryError(f"image of {got} is too small to estimate a kernel from; give 8x8 pixels or more")
        power = _periodograms(low.float(), size)
        busiest = power.mean(dim=(1, 2)).argsort(descending=True, stable=True)
        rows, columns = _frequencies(size, low.device)
        # Half of the plane: a real image's spectrum is symmetric.
        half = (rows.hypot(columns) > LOWEST) & ((rows > 0) | ((rows == 0) & (columns > 0)))
        self.power = power[busiest[: max(1, round(model.keep * len(power)))]][:, half].clamp_min(1e-12)
        self.size, self.half = size, half.flatten() if leaks else None
        seen = torch.ones_like(half) if leaks else half  # neighbours leak from all over the plane
        shifts = [(row, column) for row in range(scale) for column in range(scale)]
        self.rows = torch.stack([_alias(rows[seen], row, scale) for row, _ in shifts])
        self.columns = torch.stack([_alias(columns[seen], column, scale) for _, column in shifts])
        self.side = size * scale
        self.bins = _bin(self.rows, self.side) * self.side + _bin(self.columns, self.side)
        self.noise = max(noise, ROUNDING)
        mean, deviation = model.exponent
        alpha = torch.linspace(mean - 2.5 * deviation, mean + 2.5 * deviation, EXPONENTS, device=low.device)
        self.log_prior = (-0.5 * ((alpha - mean) / deviation) ** 2).view(1, -1, 1, 1)
        square = (self.rows**2 + self.columns**2).clamp_min(
            (2 * math.pi / (size * scale)) ** 2
        )  # the mean is taken off
        self.falls = torch.exp(-0.5 * alpha.view(-1, 1, 1) * square.log() - model.softness * square)
        start, end, points = RATIOS
        self.ratios = torch.logspace(math.log10(start), math.log10(end), points, device=low.device).view(1, 1, -1, 1)

    def __call__(self, kernels: Float[Tensor, "n k k"]) -> Float[Tensor, " n"]:
        """Sum over tiles of log p(tile | kernel), up to a constant."""
        at_once = AT_ONCE if is_gpu(self.power.device) else CACHED
        return torch.cat([self._of(part) for part in kernels.split(at_once)])

    def _of(self, kernels: Float[Tensor, "n k k"]) -> Float[Tensor, " n"]:
        folded = torch.einsum("nif,aif->naf", self._gain(kernels), self.falls)
        if self.half is not None:
            folded = self._leaked(folded)[..., self.half]
        spectrum = folded.unsqueeze(2) + self.ratios  # n a r f
        count = self.power.shape[1]
        level = (1 / spectrum) @ self.power.T / count  # n a r t: the most likely c
        tiles = -count * level.log() - spectrum.log().sum(dim=-1, keepdim=True)
        surprise = ((level * self.ratios).log() - 2 * math.log(self.noise)) / NOISE_SPREAD
        tiles = tiles - 0.5 * surprise**2 + self.log_prior
        return tiles.flatten(1, 2).logsumexp(dim=1).double().sum(dim=-1)

    def _leaked(self, folded: Float[Tensor, "n a f"]) -> Float[Tensor, "n a f"]:
        """The expected periodogram of a Hann-windowed tile with this spectrum."""
        plane = folded.unflatten(-1, (self.size, self.size))
        beside, here, _ = LEAK
        for axis in (-2, -1):
            plane = here * plane + beside * (plane.roll(1, axis) + plane.roll(-1, axis))
        return plane.flatten(-2)

    def _gain(self, kernels: Float[Tensor, "n k k"]) -> Float[Tensor, "n i f"]:
        """|K(f)|^2 at each alias of each frequency: they are those of a Fourier transform of the tile enlarged."""
        room = -kernels.shape[-1] % self.side
        padded = torch.nn.functional.pad(kernels.to(self.falls), (0, room, 0, room))
        wrapped = padded.unflatten(-1, (-1, self.side)).unflatten(-3, (-1, self.side)).sum(dim=(-4, -2))
        return torch.fft.fft2(wrapped).abs().square().flatten(1)[:, self.bins]


def _periodograms(image: Float[Tensor, "1 c h w"], size: int) -> Float[Tensor, "t k k"]:
    """Mean over colours of |FFT|^2 of Hann-windowed tiles; white noise of variance v has the value v everywhere."""
    window = torch.hann_window(size, periodic=False, device=image.device)
    window = window[:, None] * window
    window = window / window.square().mean().sqrt()
    step = max(1, size * 3 // 4)  # a Hann window gives its rim little weight
    tiles = image.unfold(2, size, step).unfold(3, size, step)[0].permute(1, 2, 0, 3, 4).flatten(0, 1)
    tiles = tiles - (tiles * window).sum(dim=(-2, -1), keepdim=True) / window.sum()
    return (torch.fft.fft2(tiles * window).abs() ** 2 / size**2).mean(dim=1)


def _frequencies(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    axis = torch.fft.fftfreq(size, device=device) * (2 * math.pi)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    return rows, columns


def _alias(frequency: Tensor, number: int, scale: int) -> Tensor:
    """The high-resolution frequency in [-pi, pi) that decimation folds onto `frequency`, number 0 to scale - 1."""
    return torch.remainder((frequency + 2 * math.pi * number) / scale + math.pi, 2 * math.pi) - math.pi


def _bin(frequency: Tensor, side: int) -> Tensor:
    """Its place in a Fourier transform of that many points."""
    return (frequency * side / (2 * math.pi)).round().long() % side

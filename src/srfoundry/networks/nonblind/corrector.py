"""Estimates a kernel's error from the spectrum of an image that was restored with it (after IKC, Gu et al., CVPR 2019).

Restored with a kernel that is too narrow, an image lacks high frequencies; with one too wide they are amplified, most
of all in the direction in which it is too wide. A network that has learned how strong these frequencies are in
photographs estimates the kernel's error, with its precision. Its input are energies in bands of frequency and direction
alone, so that a few thousand examples suffice and any image size will do.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

TILE = 32  # high-resolution pixels a side of a spectrum
BANDS, DIRECTIONS = 8, 8
LOWEST, HIGHEST = 0.06, 1.05  # radii of the bands, in units of half the sampling rate
BUSY = 4  # one in so many tiles counts as busy
FEATURES = 4 * BANDS * DIRECTIONS + 2
KNOWN = 5  # the kernel's shape, the noise, the scale
NOISE_GAIN = 50.0  # the noise is given in units of 1 / NOISE_GAIN


class Corrector(nn.Module):
    """Features of a trial restoration (`features_of`) in, a Gaussian over the error of its kernel out.

    The error is that of the kernel's shape, (xx, xy, yy) of the logarithm of its covariance.

    Args:
        width: of the two hidden layers.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, *, width: int = 192) -> None:
        super().__init__()
        entering = FEATURES + KNOWN
        self.register_buffer("centre", torch.zeros(entering))
        self.register_buffer("spread", torch.ones(entering))
        self.body = nn.Sequential(
            *(nn.Linear(entering, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 6))
        )

    def forward(self, features: Float[Tensor, "b n"]) -> tuple[Float[Tensor, "b 3"], Float[Tensor, "b 3"]]:
        """Means and log precisions of the error."""
        mean, precision = self.body((features - self.centre) / self.spread).split(3, dim=1)
        return mean, precision.clamp(-4, 7)


def features_of(
    restored: Float[Tensor, "b 3 H W"],
    residual: Float[Tensor, "b 3 h w"],
    shape: Float[Tensor, "b 3"],
    noise: Float[Tensor, " b"],
    scale: int,
) -> Float[Tensor, "b n"]:
    """The corrector's input: features of images that were restored with kernels of these shapes, and what was known.

    Args:
        restored: not clipped: what lies outside of [0, 1] carries information.
        residual: the restored images, degraded again, minus the observed ones.
        shape: of the kernels, (xx, xy, yy) of the logarithm of their covariance in px^2.
        noise: standard deviation that the restorer was given, range [0, 1].
        scale: of the enlargement.
    """
    known = torch.cat(
        [
            shape.float() - math.log(scale) * shape.new_tensor([1.0, 0.0, 1.0]).float(),
            NOISE_GAIN * noise.float().view(-1, 1),
            torch.full((len(shape), 1), math.log(scale), device=shape.device),
        ],
        dim=1,
    )
    return torch.cat([spectral_features(restored, residual, scale), known.to(restored.device)], dim=1)


def spectral_features(
    restored: Float[Tensor, "b 3 H W"], residual: Float[Tensor, "b 3 h w"], scale: int
) -> Float[Tensor, "b n"]:
    """Log energies in bands and directions: of all tiles, of the typical tile, of the busy ones, of the residual.

    Two more: how far the image leaves [0, 1], and the residual's mean square.
    """
    bands = polar(TILE, device=restored.device)
    energy = _energies(restored.mean(dim=1), bands)
    again = functional.interpolate(residual, scale_factor=scale, mode="nearest").mean(dim=1)
    count = max(1, energy.shape[1] // BUSY)
    busy = energy[..., :DIRECTIONS].mean(dim=-1).topk(count, dim=1).indices
    busiest = energy.gather(1, busy[..., None].expand(-1, -1, energy.shape[-1]))
    over = (functional.relu(restored - 1) + functional.relu(-restored)).mean(dim=(1, 2, 3))
    return torch.cat(
        [
            energy.mean(dim=1).log(),
            energy.log().mean(dim=1),
            busiest.log().mean(dim=1),
            _energies(again, bands).mean(dim=1).log(),
            (over + 1e-7).log()[:, None],
            (residual.square().mean(dim=(1, 2, 3)) + 1e-8).log()[:, None],
        ],
        dim=1,
    )


def mirrored(
    features: Float[Tensor, "b n"], *, transposed: bool, flipped: bool
) -> tuple[Float[Tensor, "b n"], Float[Tensor, " 3"], list[int]]:
    """The features of the transposed or flipped images: only directions change places.

    Returns:
        the features, and of the error that belongs to them, signs and order: `error[:, order] * signs`.
    """
    directions = torch.arange(DIRECTIONS, device=features.device)
    if transposed:
        directions = (DIRECTIONS // 2 - directions) % DIRECTIONS
    if flipped:
        directions = -directions % DIRECTIONS
    bins = (torch.arange(4 * BANDS, device=features.device)[:, None] * DIRECTIONS + directions).flatten()
    order = [2, 1, 0] if transposed else [0, 1, 2]
    signs = torch.tensor([1.0, -1.0 if flipped else 1.0, 1.0], device=features.device)
    at = 4 * BANDS * DIRECTIONS
    shape = features[:, FEATURES : FEATURES + 3][:, order] * signs
    moved = [features[:, bins], features[:, at:FEATURES], shape, features[:, FEATURES + 3 :]]
    return torch.cat(moved, dim=1), signs, order


def polar(
    size: int, *, bands: int = BANDS, highest: float = HIGHEST, device: torch.device | str = "cpu"
) -> Float[Tensor, "n m"]:
    """Weights of the frequencies of a tile in each band and direction, directions within a band side by side.

    Args:
        size: pixels a side of the tile.
        bands: how many.
        highest: radius of the last one's end, in units of half the sampling rate.
    """
    axis = 2 * torch.fft.fftfreq(size, device=device)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    radius, angle = rows.hypot(columns), torch.atan2(rows, columns)
    edges = torch.linspace(LOWEST, highest, bands + 1, device=device)
    half = (rows > 0) | ((rows == 0) & (columns > 0))  # a real image's spectrum is symmetric
    half &= (rows > -1) & (columns > -1)  # waves at half the sampling rate have no sign, and so no direction
    found = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = (radius >= low) & (radius < high) & half
        for direction in range(DIRECTIONS):
            away = (angle - direction * math.pi / DIRECTIONS + math.pi / 2) % math.pi - math.pi / 2
            weight = inside * (1 - away.abs() * DIRECTIONS / math.pi).clamp_min(0)
            found.append((weight / weight.sum().clamp_min(1e-6)).flatten())
    return torch.stack(found)


def _energies(image: Float[Tensor, "b H W"], bands: Float[Tensor, "n m"]) -> Float[Tensor, "b t n"]:
    """Energy of Hann-windowed tiles in each band and direction; images smaller than a tile repeat their edge."""
    short = [max(0, TILE - extent) for extent in image.shape[-2:]]
    if any(short):
        image = functional.pad(image[None], (0, short[1], 0, short[0]), mode="replicate")[0]
    window = torch.hann_window(TILE, periodic=False, device=image.device)
    window = window[:, None] * window
    window = window / window.square().mean().sqrt()
    tiles = image.unfold(1, TILE, TILE // 2).unfold(2, TILE, TILE // 2).flatten(1, 2)
    tiles = tiles - tiles.mean(dim=(-2, -1), keepdim=True)
    power = torch.fft.fft2(tiles * window).abs().square() / TILE**2
    return power.flatten(-2) @ bands.T + 1e-9

"""What happened to an image, from spectra and edges of its windows: which of several histories, with probabilities.

Reduced, decimated, blurred: each leaves its own fall of the spectrum towards high frequencies, its directions, and its
share of edges that are still sharp. No closed form separates a soft scene from a blurred one, since no photograph's own
spectrum is known; but a small network learns how photographs are, from tens of thousands of windows. Its input
are energies in bands of frequency and direction, as the corrector's are.

How a sharp image was made small hardly shows in a spectrum. A second network, of that alone, sees how edges cross, too
(`edge_profiles`). For blurs these numbers say nothing new, and are soon known by heart: there the first is better off.
A third one, of thumbnails alone, says which mask sharpened one (`degradation.sharpening`), from the same.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from srfoundry.imaging.jpeg_history import LUMA
from srfoundry.networks.nonblind.corrector import polar
from srfoundry.networks.nonblind.edge_profiles import count_profiles, profiles

WINDOW = 64  # low-resolution pixels a side of what is classified at once
TILE = 32  # pixels a side of a spectrum
STEP = 16  # pixels between two of them
BANDS, HIGHEST = 10, 1.3  # bands of frequency, out to near the corners of the plane
DIRECTIONS = 8
BUSIEST = 3  # tiles of a window that count as busy
FLOOR = 0.05  # energy that every band has at least, levels^2
CURVATURES = 3  # numbers of each axis


class DegradationClassifier(nn.Module):
    """Features of windows (`features_of`) in, logarithms of their histories' chances out.

    Args:
        histories: how many.
        sharp: how many of them, the first, are of sharp images.
        width: of the first hidden layer; the second has half of it.
        edges: hidden values of the network of how sharp images were made small.
        masks: places of `sharpening.drawn` that a third network tells apart, of as many hidden values as `halos`; none
            of older files, which have no such network.
    """

    centre: Tensor
    spread: Tensor

    def __init__(
        self, *, histories: int, sharp: int, width: int = 192, edges: int = 64, masks: int = 0, halos: int = 96
    ) -> None:
        super().__init__()
        self.spectral, self.sharp, self.masks = count_features() - count_profiles(), sharp, masks
        self.register_buffer("centre", torch.zeros(count_features()))
        self.register_buffer("spread", torch.ones(count_features()))
        self.body = nn.Sequential(nn.Linear(self.spectral, width), nn.GELU(), nn.Linear(width, width // 2), nn.GELU())
        self.head = nn.Linear(width // 2, histories)
        self.edges = nn.Sequential(nn.Linear(count_features(), edges), nn.GELU())
        self.made = nn.Linear(edges, sharp)
        if masks:
            self.halos = nn.Sequential(nn.Linear(count_features(), halos), nn.GELU())
            self.mask = nn.Linear(halos, masks)

    def forward(self, features: Float[Tensor, "b n"]) -> Float[Tensor, "b h"]:
        """Logarithms of the chances."""
        every, made = (logits.log_softmax(dim=1) for logits in (self.by_spectrum(features), self.by_edges(features)))
        both = every[:, : self.sharp].logsumexp(dim=1, keepdim=True) + made
        return torch.cat([both, every[:, self.sharp :]], dim=1)

    def by_spectrum(self, features: Float[Tensor, "b n"]) -> Float[Tensor, "b h"]:
        """Logits of all histories."""
        seen = (features - self.centre) / self.spread
        return self.head(self.body(seen[:, : self.spectral]))

    def by_edges(
        self, features: Float[Tensor, "b n"], *, kept: Float[Tensor, "b e"] | None = None
    ) -> Float[Tensor, "b s"]:
        """Logits of the sharp histories among each other.

        Args:
            features: of `features_of`.
            kept: in training, what the hidden values are multiplied by.
        """
        hidden = self.edges((features - self.centre) / self.spread)
        return self.made(hidden if kept is None else hidden * kept)

    def by_halos(
        self, features: Float[Tensor, "b n"], *, kept: Float[Tensor, "b e"] | None = None
    ) -> Float[Tensor, "b m"]:
        """Logits of the masks that may have sharpened a thumbnail; arguments as of `by_edges`."""
        hidden = self.halos((features - self.centre) / self.spread)
        return self.mask(hidden if kept is None else hidden * kept)


def luma(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b h w"]:
    """Luminance, range [0, 1], of images in it."""
    weights = image.new_tensor(LUMA).view(3, 1, 1)
    return (image * weights).sum(dim=1)


def features_of(windows: Float[Tensor, "b h w"], scale: int) -> Float[Tensor, "b n"]:
    """The classifier's input.

    Args:
        windows: luminance, range [0, 1]; what is smaller than a tile is continued.
        scale: by which the images were reduced.
    """
    levels = 255 * windows.float()
    short = [max(0, TILE - extent) for extent in levels.shape[-2:]]
    if any(short):
        levels = functional.pad(levels[None], (0, short[1], 0, short[0]), mode="replicate")[0]
    energy = _energies(levels)
    busy = energy[..., :DIRECTIONS].mean(dim=-1).topk(min(BUSIEST, energy.shape[1]), dim=1).indices
    busiest = energy.gather(1, busy[..., None].expand(-1, -1, energy.shape[-1]))
    known = torch.full((len(windows), 1), math.log(scale), device=windows.device)
    parts = [energy.mean(dim=1).log(), energy.log().mean(dim=1), busiest.log().mean(dim=1)]
    return torch.cat([*parts, _curvature(levels, 1), _curvature(levels, 2), known, profiles(levels)], dim=1)


def count_features() -> int:
    """How many numbers `features_of` gives for a window."""
    return 3 * BANDS * DIRECTIONS + 2 * CURVATURES + 1 + count_profiles()


def _curvature(levels: Float[Tensor, "b h w"], axis: int) -> Float[Tensor, "b 3"]:
    """Second differences along an axis: their size, how many are small, how heavy their tail is; logarithms."""
    bent = levels.diff(n=2, dim=axis).flatten(1)
    size = bent.square().mean(dim=1).sqrt() + FLOOR
    small = (bent.abs().mean(dim=1) + FLOOR).log() - size.log()
    tail = (bent / size[:, None]).pow(4).mean(dim=1).clamp_min(0.1).log()
    return torch.stack([size.log(), small, tail], dim=1)


def _energies(levels: Float[Tensor, "b h w"]) -> Float[Tensor, "b t n"]:
    """Energy of Hann-windowed tiles in each band and direction."""
    taper = torch.hann_window(TILE, periodic=False, device=levels.device)
    taper = taper[:, None] * taper
    taper = taper / taper.square().mean().sqrt()
    tiles = levels.unfold(1, TILE, STEP).unfold(2, TILE, STEP).flatten(1, 2)
    tiles = tiles - tiles.mean(dim=(-2, -1), keepdim=True)
    power = torch.fft.fft2(tiles * taper).abs().square() / TILE**2
    bands = polar(TILE, bands=BANDS, highest=HIGHEST, device=levels.device)
    return power.flatten(-2) @ bands.T + FLOOR

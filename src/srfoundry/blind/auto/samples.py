"""What the classifier of degradations learns from: windows of photographs, each with a history, noise, a JPEG file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from srfoundry.blind.auto import histories
from srfoundry.blind.nonblind_pairs import SOFT, SharpPatches
from srfoundry.core.process_group import Processes
from srfoundry.core.seeds import Rows, Stream
from srfoundry.core.state import Resumption
from srfoundry.degradation import sharpening
from srfoundry.degradation.aliasing import fold, transfer
from srfoundry.imaging import drawings, images
from srfoundry.imaging.patches import Patches
from srfoundry.networks.nonblind.degradation_classifier import WINDOW, features_of, luma
from srfoundry.training.loop import fit
from srfoundry.training.settings import PatchDraw

RIM = 10  # low-resolution pixels around a window that are cut off, since far ends meet there
NOISY, NOISIEST = 0.45, 15 / 255  # share of the windows with noise, and its largest standard deviation, range [0, 1]
PACKED, QUALITIES = 0.4, (50, 95)  # share of the windows that were JPEG files, and of which quality


@dataclass(frozen=True)
class Look:
    """What some of the windows are for, and how their photographs look.

    Attributes:
        shares: of the histories.
        soft: share of soft photographs.
        gammas: exponents that the photographs' levels are raised to.
        noisiest: largest standard deviation of the noise, range [0, 1].
        sharpened: share of the images that a mask sharpens. Where there are any, these are what is learned.
        drawn: one in so many is a drawing; none of them is where it is 0.
    """

    shares: Mapping[str, float]
    soft: float
    gammas: tuple[float, float] = (1.0, 1.0)
    noisiest: float = NOISIEST
    sharpened: float = 0.0
    drawn: int = 6


ALL = Look(histories.SHARES, SOFT)
# Pixels left out of soft photographs look like means of sharp ones' blocks. Where blurs are learned, as many soft ones
# and other gammas cost a disc and a line in ten, and a noisy Gaussian in six. Without drawings: how sharp photographs
# were made small hangs by a thread.
SHARP = Look(histories.MADE, 0.45, (0.7, 1.4), drawn=0)
TURN = (ALL, SHARP, ALL)  # of the batches
# Masks are told apart on thumbnails alone: with blurs among them the cross entropy of the places is 1.41 in place of
# 1.31, and a third of the windows that nobody sharpened are taken for sharpened, in place of a fifth.
THUMBNAILS = Look({"reduced": 0.55, "area": 0.3, "decimated": 0.15}, 0.35, (0.7, 1.4), 4 / 255, histories.SHARPENED)


def window_patches(patches: Patches, scale: int, *, octave: float, batch: int) -> SharpPatches:
    """The patches that windows are made of, as large as two thirds of the photographs allow.

    Args:
        patches: the photographs; those that are too small are left out.
        scale: of the reduction.
        octave: share of the patches that show a photograph at half size.
        batch: patches a draw.
    """
    sides = sorted(min(entry["height"], entry["width"]) for entry in patches.entries)
    patch = min(WINDOW + 2 * RIM, sides[len(sides) // 3] // scale) * scale
    large = [entry["name"] for entry in patches.entries if min(entry["height"], entry["width"]) >= patch]
    return SharpPatches(patches.only(large), PatchDraw(patch=patch, octave=octave, batch=batch))


class Windows:
    """Features of windows, the history of each (or the place of its mask, see `Look`), whether it shows how a sharp
    image was made small, and no more, and whether it is of a photograph.
    """

    def __init__(self) -> None:
        self.features: list[Tensor] = []
        self.histories: list[Tensor] = []
        self.sharp: list[Tensor] = []
        self.photographs: list[Tensor] = []

    def add(self, features: Float[Tensor, "b n"], drawn: Int[Tensor, " b"], look: Look) -> None:
        """Take up a batch of a look."""
        self.features.append(features)
        self.histories.append(drawn)
        self.sharp.append(torch.full(drawn.shape, look is SHARP))
        self.photographs.append(~_drawings(len(drawn), look))

    def all(self) -> tuple[Float[Tensor, "m n"], Int[Tensor, " m"], Bool[Tensor, " m"], Bool[Tensor, " m"]]:
        """Features, histories, purposes and whether they are of photographs, in the order in which they came."""
        return torch.cat(self.features), torch.cat(self.histories), torch.cat(self.sharp), torch.cat(self.photographs)

    def state_dict(self) -> dict[str, Any]:
        """All batches."""
        return {name: list(batches) for name, batches in vars(self).items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the batches of an earlier run."""
        for name in vars(self):
            setattr(self, name, list(state_dict[name]))


def collect_windows(
    sharp: Mapping[int, SharpPatches],
    *,
    windows: int,
    softness: float,
    scales: Sequence[int],
    stream: Stream,
    resumption: Resumption,
    turn: Sequence[Look] = TURN,
    name: str = "window",
) -> Windows:
    """Degrade random patches and keep the features of what comes of them.

    Args:
        sharp: for each scale, the photographs' patches (`window_patches`).
        windows: how many; rounded up to whole batches.
        softness: largest variance, px^2, of the blur that some of the photographs have of their own.
        scales: in turns.
        turn: what the batches are for, in turns.
        name: of what is random in them.
    """
    found, processes = Windows(), resumption.processes

    def step(index: int) -> Mapping[str, float]:
        look, scale = turn[index % len(turn)], scales[index // len(turn) % len(scales)]
        features, drawn = _drawn(sharp[scale], softness, look, scale, rng=stream.rng(name, index), processes=processes)
        found.add(processes.gathered(features, len(drawn)), drawn, look)
        return {}

    count = sharp[scales[0]].draws.batch
    fit(
        step,
        steps=-(-windows // count),
        state={"windows": found},
        resumption=resumption,
        title=f"{stream.name} {name}s",
    )
    return found


def _drawn(
    sharp: SharpPatches, softness: float, look: Look, scale: int, *, rng: torch.Generator, processes: Processes
) -> tuple[Tensor, Tensor]:
    """Features of this process's rows of a batch, and what is to be learned of all."""
    count = sharp.draws.batch
    own = processes.rows(count)
    rows, drawn = Rows(count, own), histories.draw(count, scale, shares=look.shares, rng=rng)
    high, soft = luma(sharp.draw(rng=rng, processes=processes)), rows.rand(2, rng=rng)
    if look.drawn:
        pages, whole = _drawings(count, look), torch.zeros(count, *high.shape[1:])
        whole[pages] = drawings.drawn(int(pages.sum()), high.shape[-1], rng=rng)
        high = torch.where(pages[own].view(-1, 1, 1), whole[own], high)
    variance = torch.where(soft[:, 0] < look.soft, softness * soft[:, 1], 0.0)
    least, most = look.gammas
    high = high.clamp(0, 1) ** (least + (most - least) * rows.rand(1, rng=rng).view(-1, 1, 1))
    low = _reduced(high, drawn.kernel[own], variance, scale)[:, None]
    rim = min(RIM, low.shape[-1] // 4)
    low = low[..., rim:-rim, rim:-rim]
    draws = rows.rand(4, rng=rng)
    level = torch.where(draws[:, 0] < NOISY, look.noisiest * draws[:, 1], 0.0)
    low = low + level.view(-1, 1, 1, 1) * rows.randn(*low.shape[1:], rng=rng)
    low, learned = images.from_uint8(images.to_uint8(low)), drawn.history
    if look.sharpened:
        radius, amount, learned = sharpening.drawn(count, look.sharpened, rng=rng)
        low = sharpening.unsharp(low[:, 0], radius[own], amount[own])[:, None]
        low = images.from_uint8(images.to_uint8(low))
    qualities = (QUALITIES[0] + draws[:, 3] * (QUALITIES[1] - QUALITIES[0] + 0.99)).int().tolist()
    for row, (chance, quality) in enumerate(zip(draws[:, 2].tolist(), qualities, strict=True)):
        if chance < PACKED:
            low[row, None] = images.jpeg(low[row, None].expand(-1, 3, -1, -1), quality)[:, :1]
    return features_of(low[:, 0], scale), learned


def _drawings(count: int, look: Look) -> Bool[Tensor, " n"]:
    """Which rows of a batch are of drawings."""
    return torch.arange(count) % look.drawn == 0 if look.drawn else torch.zeros(count, dtype=torch.bool)


def _reduced(
    high: Float[Tensor, "b H W"], kernel: Float[Tensor, "b k k"], variance: Float[Tensor, " b"], scale: int
) -> Float[Tensor, "b h w"]:
    """Every s-th pixel of the images behind a Gaussian of this variance and the kernel, periodic."""
    size = high.shape[-2:]
    down, across = torch.fft.fftfreq(size[0]), torch.fft.rfftfreq(size[1])
    square = ((2 * math.pi * down[:, None]) ** 2 + (2 * math.pi * across) ** 2).to(high.device)
    soft = (-0.5 * variance.view(-1, 1, 1) * square).exp()
    spectrum = torch.fft.rfft2(high) * transfer(kernel, (size[0], size[1])) * soft
    reduced = size[0] // scale, size[1] // scale
    return torch.fft.irfft2(fold(spectrum, scale, reduced[1]), s=reduced)

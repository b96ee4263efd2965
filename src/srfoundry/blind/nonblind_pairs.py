"""Training pairs of the non-blind network and the corrector: photographs, and what blur and noise make of them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.nonblind_restoration import VARIANCES, trained_size
from srfoundry.core.compute import sent
from srfoundry.core.errors import FoundryError
from srfoundry.core.process_group import ALONE, Processes
from srfoundry.core.seeds import Rows
from srfoundry.degradation import kernels, operator
from srfoundry.imaging import images
from srfoundry.imaging.patches import Patches
from srfoundry.training.settings import PatchDraw

SOFT = 0.3  # share of soft photographs where there are any
SHAKEN = 25  # taps a side, at least, where motion blurs are among the kernels
LINES = 0.3  # share of straight lines among the motion blurs


def large_photographs(patches: Patches, side: int, *, stage: str, setting: str, where: str = "") -> Patches:
    """Those of which a patch can be cut.

    Args:
        patches: the photographs.
        side: of a patch, high-resolution pixels.
        stage: that learns from them, for the error.
        setting: of params.yaml that makes patches smaller, for the error.
        where: that it is asked for, for the error.

    Raises:
        FoundryError: none is large enough.
    """
    large = [entry["name"] for entry in patches.entries if min(entry["height"], entry["width"]) >= side]
    if not large:
        raise FoundryError(
            f"the stage {stage} learns from photographs of {side}x{side} pixels or more{where}, got none; give larger "
            f"ones, or make {setting} smaller"
        )
    return patches.only(large)


class SharpPatches:
    """Random patches of photographs, a share of them of photographs at half size.

    Args:
        patches: the photographs. Half size is the first reduction that they were prepared with.
        draws: size and number of the patches, and the share at half size; where no photograph is large enough for a
            patch at half size, all are cut at full size.
    """

    def __init__(self, patches: Patches, draws: PatchDraw) -> None:
        self.patches, self.draws = patches, draws
        least = patches.factors[1] * draws.patch
        large = [entry["name"] for entry in patches.entries if min(entry["height"], entry["width"]) >= least]
        self.large = patches.only(large) if large else None

    def draw(self, *, rng: torch.Generator, processes: Processes = ALONE) -> Float[Tensor, "b 3 p p"]:
        """The patches of one step, range [0, 1]: this process's rows of them."""
        draws, large = self.draws, self.large
        halved = draws.halved if large is not None else 0
        parts = []
        full = draws.batch - halved
        if full:
            rows = processes.rows(full)
            drawn = self.patches.batch(full, draws.patch, rng=rng, factors=[1], rows=rows, permuted=draws.permuted)
            parts.append(drawn[1])
        if large is not None and halved:
            step, rows = large.factors[1], processes.rows(halved, full)
            drawn = large.batch(halved, step * draws.patch, rng=rng, factors=[step], rows=rows, permuted=draws.permuted)
            parts.append(drawn[step])
        return torch.cat(parts)


@dataclass(frozen=True)
class Pairs:
    """Low-resolution images, the kernel and noise that made each, and the images to restore."""

    low: Float[Tensor, "b 3 h w"]
    kernel: Float[Tensor, "b k k"]
    noise: Float[Tensor, " b"]
    high: Float[Tensor, "b 3 H W"]
    scale: int

    def sent(self, device: torch.device) -> "Pairs":
        """The same on a device."""
        low, kernel, noise, high = (sent(each, device) for each in (self.low, self.kernel, self.noise, self.high))
        return Pairs(low, kernel, noise, high, self.scale)


@dataclass(frozen=True)
class PairDraw:
    """How photographs are degraded to pairs.

    Attributes:
        sharp: the photographs' patches.
        noise: largest standard deviation, range [0, 1]; half of the images have none.
        softness: see `soften`; 0 leaves the photographs as they are.
    """

    sharp: SharpPatches
    noise: float
    softness: float = 0.0

    @property
    def count(self) -> int:
        """Pairs of one draw."""
        return self.sharp.draws.batch

    def draw(
        self, kernel: Float[Tensor, "b k k"], scale: int, *, rng: torch.Generator, processes: Processes = ALONE
    ) -> Pairs:
        """Degrade random patches, one with each kernel: y = (x * k) down_s + n, periodic, in 8 bits.

        Args:
            kernel: of all rows of the batch, also where this process has some of them.
            scale: s.
            rng: of the step.
            processes: among which the rows are dealt.
        """
        own = processes.rows(self.count)
        rows, kernel = Rows(self.count, own), kernel[own]
        high = self.sharp.draw(rng=rng, processes=processes)
        if self.softness:
            high = soften(high, self.softness, rng=rng, rows=rows)
        level = rows.rand(2, rng=rng)
        level = torch.where(level[:, 0] < 0.5, 0.0, self.noise * level[:, 1])
        low = operator.degrade(high, kernel, scale, border="circular")
        low = low + level.view(-1, 1, 1, 1) * rows.randn(*low.shape[1:], rng=rng)
        return Pairs(images.from_uint8(images.to_uint8(low)), kernel, level, high, scale)


def soften(
    high: Float[Tensor, "b c p p"], softness: float, *, rng: torch.Generator, rows: Rows | None = None
) -> Float[Tensor, "b c p p"]:
    """Blur a share of SOFT of the images as a lens, a demosaicing or an earlier enlargement may have; to 8 bits.

    Args:
        softness: largest variance of these blurs, px^2; they are round Gaussians.
        rng: of the step.
        rows: of the batch of which these images are a part; the whole one if not given.
    """
    draws = (rows or Rows(len(high))).rand(2, rng=rng, dtype=torch.float64)
    variance = draws[:, 1] * softness + 1e-3  # a Gaussian of no width is none
    blur = kernels.gaussian(7, variance, variance, torch.zeros_like(variance)).float()
    blurred = images.from_uint8(images.to_uint8(operator.degrade(high, blur, 1, border="circular")))
    return torch.where((draws[:, 0] < SOFT).view(-1, 1, 1, 1), blurred, high)


def draw_kernels(count: int, *, scale: int, motion: float, rng: torch.Generator) -> Float[Tensor, "n k k"]:
    """Gaussians of FKP's range and, in a share of about `motion`, lines and trajectories, in random order."""
    size = trained_size(scale) if motion == 0 else max(trained_size(scale), SHAKEN)
    draws = torch.rand(count, 4, generator=rng, dtype=torch.float64)
    found = kernels.gaussian_at(size, draws[:, :3], VARIANCES, scale=scale).float()
    return kernels.with_motion(found, draws[:, 3] / motion, lines=LINES, scale=scale, rng=rng)

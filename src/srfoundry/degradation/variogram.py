"""The second moments that a photograph and its reduced copy are taken to have, and the filters that follow from them.

For y = D x, with D any degradation of operator.py, and x a photograph of which only second moments are known, the
linear estimate of least mean squared error that keeps constants is a filter of y (ordinary kriging). The moments are
those of a variogram |d|^h, whose spectrum falls as |f|^-(2 + h). All of it is shift-invariant, so a window of
low-resolution pixels and s x s small filters do, one filter for each place in the s x s block.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from srfoundry.core.errors import FoundryError
from srfoundry.degradation import kernels, operator

RADIUS = 5  # low-resolution pixels that a filter looks to each side
ROUGHNESS = 1.0  # h, between 0 and 2; chosen on validation photographs, and hardly matters
NOISE = 3e-4  # variance of a low-resolution pixel's error in units of the variogram at one pixel; chosen likewise
LEVEL = 1e4  # variance of an image's mean in the same units: so large that a filter's taps sum to one
AT_ONCE = 128  # kernels whose moments are computed together


@dataclass(frozen=True)
class Moments:
    """Second moments of the variogram in a window of low-resolution pixels y, for each kernel.

    Attributes:
        cross: <x y> of the photograph's pixels x in the middle block, row by row, and the window's pixels.
        both: <y y> of the window's pixels.
        step: half the mean square of the difference between neighbours, without noise.
    """

    cross: Float[Tensor, "n p q"]
    both: Float[Tensor, "n q q"]
    step: Float[Tensor, " n"]

    @classmethod
    def of(cls, kernel: Float[Tensor, "n k k"], scale: int, *, decimation: operator.Decimation = "direct") -> "Moments":
        """Those of each kernel, on the CPU.

        Args:
            kernel: the blurs, MZSR's convention.
            scale: of the reduction.
            decimation: how the image was reduced after the blur.

        Raises:
            FoundryError: not a kernel.
        """
        kernels.check(kernel)
        taps = kernel.detach().double().cpu()
        if len(taps) == 1:
            return cls(*_moments_of_one(taps.numpy().tobytes(), taps.shape[-1], scale, decimation))
        parts = [_moments(part, scale, decimation) for part in taps.split(AT_ONCE)]
        return cls(*(torch.cat(each) for each in zip(*parts, strict=True)))

    def averaged(self, weights: Float[Tensor, "g n"]) -> "Moments":
        """Their means with each row of weights, which need not sum to one.

        Under an uncertain blur these are the moments of what is seen, so their filters have the least error on average.

        Args:
            weights: 0 or more.

        Raises:
            FoundryError: rows of another length, with values below 0, or of zeros alone.
        """
        rows = weights.detach().double().cpu()
        if rows.shape[-1] != len(self.step) or not bool((rows >= 0).all() and (rows.sum(dim=1) > 0).all()):
            raise FoundryError(
                f"weights must be rows of {len(self.step)} numbers, none below 0 and one above, got "
                f"{tuple(rows.shape)} from {float(rows.min()):.3g} on; give one for each kernel"
            )
        rows = rows / rows.sum(dim=1, keepdim=True)
        cross, both = (torch.einsum("gn,nij->gij", rows, each) for each in (self.cross, self.both))
        return Moments(cross, both, rows @ self.step)

    def picked(self, which: Int[Tensor, " m"]) -> "Moments":
        """Those of some kernels, by their numbers."""
        return Moments(self.cross[which], self.both[which], self.step[which])

    def filters(self, noise: Float[Tensor, " _"] | float = 0.0) -> Float[Tensor, "m p t t"]:
        """The estimate of least mean squared error that keeps constants (ordinary kriging).

        Args:
            noise: variance of the noise in units of `step` without it: one for all kernels, one for each, or many for
                one kernel.
        """
        ratio = torch.as_tensor(noise, dtype=torch.float64).cpu().reshape(-1)
        places, window = self.cross.shape[1:]
        error = NOISE + ratio * self.step
        seen = self.both + error.view(-1, 1, 1) * torch.eye(window, dtype=torch.float64)
        cross = self.cross.expand(len(seen), -1, -1)
        made = torch.linalg.solve(seen, cross.mT).mT
        made = made / made.sum(dim=-1, keepdim=True)
        side = round(window**0.5)
        return made.reshape(len(made), places, side, side).float()


@lru_cache(maxsize=4)
def _moments_of_one(taps: bytes, side: int, scale: int, decimation: operator.Decimation) -> tuple[Tensor, ...]:
    """As `_moments`: each step of an adaptation asks for those of its photograph's kernel again."""
    with torch.inference_mode(False):  # whoever asks next may need gradients
        kernel = torch.frombuffer(bytearray(taps), dtype=torch.float64).view(1, side, side)
        return _moments(kernel, scale, decimation)


def _moments(
    kernel: Float[Tensor, "n k k"], scale: int, decimation: operator.Decimation
) -> tuple[Float[Tensor, "n p q"], Float[Tensor, "n q q"], Float[Tensor, " n"]]:
    sight = _sight(kernel, scale, decimation)
    half = sight.shape[-1] // 2
    far = 2 * RADIUS * scale  # the largest shift between two low-resolution pixels of a window
    axis = torch.arange(-far - 2 * half, far + 2 * half + 1, dtype=torch.float64)
    moment = LEVEL - (axis[:, None] ** 2 + axis[None, :] ** 2).pow(ROUGHNESS / 2)
    cross = F.conv2d(moment[None, None], sight)  # <x(0), y around d> for all shifts d
    both = F.conv2d(cross, sight.flip(-2, -1), groups=len(kernel))  # <y around 0, y around d>
    window = torch.arange(-RADIUS, RADIUS + 1)
    rows, columns = (grid.flatten() * scale for grid in torch.meshgrid(window, window, indexing="ij"))
    middle = both.shape[-1] // 2
    down, right = (line[:, None] - line[None, :] + middle for line in (rows, columns))
    seen = both[0, :, down, right]
    beside = both[0, :, [middle + scale, middle], [middle, middle + scale]].mean(dim=-1)
    block = torch.arange(scale)
    above, before = (grid.flatten() for grid in torch.meshgrid(block, block, indexing="ij"))
    down = rows[None, :] - above[:, None] + cross.shape[-1] // 2
    right = columns[None, :] - before[:, None] + cross.shape[-1] // 2
    return cross[0, :, down, right], seen, both[0, :, middle, middle] - beside


def _sight(kernel: Float[Tensor, "n k k"], scale: int, decimation: operator.Decimation) -> Float[Tensor, "n 1 q q"]:
    """The weights with which a low-resolution pixel sees the photograph, around its block's first pixel."""
    half = kernel.shape[-1] // 2 + (2 * scale + scale // 2 if decimation == "bicubic" else 0)
    middle = -(-half // scale) + 2
    spot = torch.zeros(len(kernel), 1, 2 * middle + 1, 2 * middle + 1, dtype=torch.float64)
    spot[..., middle, middle] = 1
    extent = (2 * middle + 1) * scale
    seen = operator.adjoint(spot, kernel, scale, (extent, extent), decimation=decimation)
    first, last = middle * scale - half, middle * scale + half + 1
    return seen[..., first:last, first:last]

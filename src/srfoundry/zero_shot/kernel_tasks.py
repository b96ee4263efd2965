"""The blurs that training pairs are made with, and how wrongly the network is told of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from srfoundry.core.errors import FoundryError
from srfoundry.degradation import kernels, linear_enlargement, operator
from srfoundry.imaging import images, resize


@dataclass(frozen=True)
class Blurs:
    """Kernels with one way of reducing: the true ones, and what the network is told instead."""

    true: Float[Tensor, "m k k"]
    told: Float[Tensor, "m k k"]
    scale: int | float
    decimation: operator.Decimation
    filters: Float[Tensor, "m p t t"] | None  # of the linear enlargement, for the told kernels; None means bicubic

    def reduce(
        self, high: Float[Tensor, "b 3 p p"], which: Int[Tensor, " n"], *, told: bool = False
    ) -> Float[Tensor, "b 3 q q"]:
        """Reduce with a kernel for all (n = 1) or for each, to 8 bits.

        Args:
            told: with the kernels that the network is told, not with the true ones.
        """
        kernel = (self.told if told else self.true)[which].to(high.device)
        low = operator.degrade(high, kernel, self.scale, decimation=self.decimation)
        return images.from_uint8(images.to_uint8(low))

    def enlarge(
        self, low: Float[Tensor, "b 3 q q"], which: Int[Tensor, " n"], size: tuple[int, int]
    ) -> Float[Tensor, "b 3 p p"]:
        """Enlarge to a size, as the told kernels ask for."""
        if self.filters is None:
            return resize.cubic(low, self.scale, size=size)
        return linear_enlargement.linear(low, self.filters[which].to(low.device))

    def pairs(
        self, high: Float[Tensor, "b 3 p p"], which: Int[Tensor, " n"], *, told: bool = False
    ) -> Float[Tensor, "b 3 p p"]:
        """Reduce and enlarge to the same size: the network's input for a target (MZSR sec. 3.2)."""
        return self.enlarge(self.reduce(high, which, told=told), which, (high.shape[-2], high.shape[-1]))


def make(
    bank: Float[Tensor, "m k k"],
    *,
    scales: Sequence[int | float],
    decimations: Sequence[operator.Decimation],
    enlargement: linear_enlargement.How,
    mismatch: float,
    rng: torch.Generator,
) -> list[Blurs]:
    """One group for each scale and decimation.

    Args:
        bank: the kernels of the first scale; those of others are Gaussians drawn anew, for their widths go with it.
        mismatch: variance in px^2, at most, of an extra Gaussian blur that either the true or the told kernel has.

    Raises:
        FoundryError: a linear enlargement by a fraction.
    """
    if enlargement == "linear" and any(scale != int(scale) for scale in scales):
        raise FoundryError(f"linear enlargement takes whole scales, got {list(scales)}; use bicubic for these")
    groups = []
    for scale in scales:
        whole = int(scale) if scale == int(scale) else scale
        own = bank
        if scale != scales[0]:
            own, _ = kernels.draw_gaussian(len(bank), size=bank.shape[-1], scale=scale, rng=rng)
        for decimation in decimations:
            true, told = mismatched(own, mismatch, rng)
            filters = (
                linear_enlargement.filters(told, int(scale), decimation=decimation) if enlargement == "linear" else None
            )
            groups.append(Blurs(true, told, whole, decimation, filters))
    return groups


def mismatched(
    bank: Float[Tensor, "m k k"], variance: float, rng: torch.Generator
) -> tuple[Float[Tensor, "m k k"], Float[Tensor, "m k k"]]:
    """Blur every kernel once more, by a random Gaussian of at most this variance, either as it is or as it is told."""
    if variance == 0:
        return bank, bank
    draws = torch.rand(len(bank), 4, generator=rng, dtype=torch.float64)
    first, second = draws[:, 0] * variance + 1e-3, draws[:, 1] * variance + 1e-3
    extra = kernels.gaussian(7, first, second, draws[:, 2] * torch.pi)
    wider = F.conv2d(bank.double()[None], extra[:, None], padding=3, groups=len(bank))[0]
    wider = kernels.normalise(wider).to(bank)
    really = (draws[:, 3] < 0.5)[:, None, None]
    return torch.where(really, wider, bank), torch.where(really, bank, wider)

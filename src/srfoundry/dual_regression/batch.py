"""A batch of a closed loop: a tensor for each reduction; 1 is the photograph.

Images without a photograph stand at the end of the smallest tensor alone, which then has more rows than the others: no
mask, and no place for an invented target. Where the low-resolution images are made for the step
(degradation.random_degradation), the batch knows the operator that made each of them: the dual map of a closed loop
under blur, with nothing to learn.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.degradation.random_degradation import Degraded, Operator
from srfoundry.degradation.reductions import antialiasing, sized
from srfoundry.imaging import resize


@dataclass(frozen=True)
class Whole:
    """Of a batch whose rows are dealt to several processes: the counts that its means are over.

    Args:
        rows: of the smallest images, those without a photograph included.
        pairs: with a photograph.
        known: of these, with a kernel that is the whole operator.
    """

    rows: int
    pairs: int
    known: int

    def joined(self, other: "Whole") -> "Whole":
        """Of both batches."""
        return Whole(self.rows + other.rows, self.pairs + other.pairs, self.known + other.known)


Batch = Mapping[int, Float[Tensor, "_ 3 _ _"]]


class DegradedBatch(dict[int, Tensor]):
    """A batch whose low-resolution images were made for it, and what made them.

    Attributes:
        operator: of the degradation, noise, sharpening and compression left out: linear and differentiable, from as
            many photographs as the batch has to images of the input's size.
        kernels: the operator as kernels for direct decimation onto the grid of MATLAB's bicubic, b k k.
        known: b, the rows of which that is the whole operator; the kernels of the others are void.
        whole: of the batch that this is the whole or a part of; without it this is the whole.
    """

    def __init__(
        self, images: Batch, operator: Operator, kernels: Tensor, known: Tensor, whole: "Whole | None" = None
    ) -> None:
        super().__init__(images)
        self.operator, self.kernels, self.known, self.whole = operator, kernels, known, whole

    @classmethod
    def of(cls, images: Batch, made: Degraded, scale: int, whole: "Whole | None" = None) -> "DegradedBatch":
        """The batch with its smallest images as they were degraded."""
        return cls({**images, scale: made.low}, made.operator, made.kernels, made.known, whole)

    def joined(self, other: "DegradedBatch") -> "DegradedBatch":
        """This batch's rows, then the other's."""
        count = len(self.kernels)

        def apply(image: Tensor) -> Tensor:
            return torch.cat([self.operator(image[:count]), other.operator(image[count:])])

        return DegradedBatch(
            {factor: torch.cat([images, other[factor]]) for factor, images in self.items()},
            apply,
            torch.cat([self.kernels, other.kernels]),
            torch.cat([self.known, other.known]),
            self.whole.joined(other.whole) if self.whole and other.whole else None,
        )


def joined(first: Batch, second: Batch) -> Batch:
    """The rows of two batches of one kind, in one."""
    if isinstance(first, DegradedBatch) and isinstance(second, DegradedBatch):
        return first.joined(second)
    return {factor: torch.cat([images, second[factor]]) for factor, images in first.items()}


def reduced_alone(images: Batch, scale: int, whole: Whole | None = None) -> DegradedBatch:
    """A batch of a prepared set, whose smallest images are MATLAB's bicubic: it knows that as its operator.

    Args:
        images: of the batch.
        scale: by which the smallest are reduced.
        whole: of the batch that this is a part of; without it this is the whole.
    """
    high = images[1]
    kernel = sized(antialiasing("bicubic", scale), 4 * scale + 3).to(high)
    known = torch.ones(len(high), dtype=torch.bool, device=high.device)
    kernels = kernel.expand(len(high), -1, -1)
    return DegradedBatch(images, lambda image: resize.cubic(image, 1 / scale), kernels, known, whole)

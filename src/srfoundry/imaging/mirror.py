"""What lies outside of an image that is mirrored, edge pixels included: MATLAB's `symmetric`, SciPy's `reflect`."""

import torch
from jaxtyping import Int
from torch import Tensor


def mirror_indices(positions: Int[Tensor, " n"], extent: int) -> Int[Tensor, " n"]:
    """The pixels that stand at any positions when an axis of `extent` pixels is mirrored without end.

    >>> mirror_indices(torch.arange(-2, 5), 3).tolist()
    [1, 0, 0, 1, 2, 2, 1]
    """
    index = positions % (2 * extent)
    return torch.minimum(index, 2 * extent - 1 - index)

"""Windows of an image, the busiest first: what is looked at where the whole would take too long, or not fit a page."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Box = tuple[int, int, int, int]  # top, left, height, width in pixels
Energy = Literal["edges", "gradients"]

GRID = 4  # pixels between windows by `gradients`


def busiest(image: Float[Tensor, "b c h w"], side: int, *, energy: Energy) -> Box:
    """The busiest window of `side` pixels a side, or less where the image is smaller.

    Args:
        image: the first of a batch decides.
        side: pixels.
        energy: `edges` sums absolute differences, on a grid of half windows; `gradients` squared ones, which favour few
            strong edges, on a grid of GRID pixels.
    """
    return by_edges(image, side, 1)[0] if energy == "edges" else _by_gradients(image, side)


def by_edges(image: Float[Tensor, "b c h w"], side: int, count: int) -> list[Box]:
    """Windows that do not overlap, the strongest edges first.

    Args:
        image: the first of a batch decides.
        side: pixels, or less where the image is smaller.
        count: the most to return; one is there at least.
    """
    height, width = image.shape[-2:]
    tall, wide = min(side, height), min(side, width)
    grey = image.mean(dim=1, keepdim=True)
    edges = torch.zeros_like(grey)
    edges[..., 1:, :] += grey.diff(dim=-2).abs()
    edges[..., :, 1:] += grey.diff(dim=-1).abs()
    steps = (max(tall // 2, 1), max(wide // 2, 1))
    energy = F.avg_pool2d(edges, (tall, wide), stride=steps)[0, 0]
    found: list[Box] = []
    for index in energy.flatten().argsort(descending=True, stable=True).tolist():
        row, column = divmod(index, energy.shape[1])
        top, left = row * steps[0], column * steps[1]
        if len(found) < count and all(abs(top - box[0]) >= tall or abs(left - box[1]) >= wide for box in found):
            found.append((top, left, tall, wide))
    return found


def crop(image: Float[Tensor, "b c h w"], box: Box) -> Float[Tensor, "b c p q"]:
    """The pixels of a window, as a view."""
    top, left, height, width = box
    return image[..., top : top + height, left : left + width]


def _by_gradients(image: Tensor, side: int) -> Box:
    height, width = (min(side, extent) for extent in image.shape[-2:])
    grey = image.mean(dim=1, keepdim=True)
    down = F.pad(grey.diff(dim=-2) ** 2, (0, 0, 0, 1))
    across = F.pad(grey.diff(dim=-1) ** 2, (0, 1, 0, 0))
    # axis by axis: a window's cost is its side, not its area
    rows = F.avg_pool2d((down + across).double(), (height, 1), stride=(GRID, 1))
    sums = F.avg_pool2d(rows, (1, width), stride=(1, GRID))[0, 0]
    row, column = divmod(int(sums.argmax()), sums.shape[1])
    return GRID * row, GRID * column, height, width

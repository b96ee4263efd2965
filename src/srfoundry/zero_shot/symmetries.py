"""The eight symmetries of the square, under which an image is as good a photograph as it was."""

from jaxtyping import Shaped
from torch import Tensor

Symmetry = tuple[bool, bool, bool]  # flip rows, flip columns, then swap them
SYMMETRIES: list[Symmetry] = [
    (up, left, swap) for swap in (False, True) for up in (False, True) for left in (False, True)
]


def turn(image: Shaped[Tensor, "*b h w"], symmetry: Symmetry) -> Tensor:
    """An image, or a map of its pixels, under a symmetry."""
    up, left, swap = symmetry
    flipped = image.flip([dim for dim, flip in ((-2, up), (-1, left)) if flip])
    return flipped.transpose(-2, -1) if swap else flipped

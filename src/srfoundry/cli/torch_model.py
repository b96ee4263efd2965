"""A checkpoint, run by PyTorch with the interface of an exported model's session."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from srfoundry.core import seeds
from srfoundry.core.errors import FoundryError
from srfoundry.deployment import overlap
from srfoundry.deployment.export import OnnxNet
from srfoundry.networks.zoo import cards
from srfoundry.networks.zoo.architectures import ARCHITECTURES
from srfoundry.runtime.session import padded

OTHERWISE = {  # what networks are that do not enlarge by themselves
    "dual": "is a dual map, which makes images smaller; take the network that it belongs to",
    "adaptive": "holds a network that adapts to an image's blur; it is for 'srfoundry restore --model'",
    "nonblind": "holds a network that needs an image's blur; it is for 'srfoundry restore --model'",
    "classifier": "holds a network that sees what happened to an image and makes none; take one that enlarges",
    "corrector": "holds a network that corrects kernels and makes no image; take one that enlarges",
    "fusion": "holds a network that joins several restorations of an image; take one that enlarges",
}
TOLERANCE = 2e-3  # that tiles may change, rms of the worst line: half a level of 8 bits, as export.tile_error


class TorchModel:
    """A network from its checkpoint.

    Args:
        path: the .safetensors file.
        device: where it computes.

    Raises:
        FoundryError: it cannot be read, or does not enlarge by itself.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        net, self.card = cards.load(path)
        role = ARCHITECTURES[self.card.arch["name"]].role
        if role != "primal":
            raise FoundryError(f"{path} {OTHERWISE[role]}")
        self.scale = self.card.scale
        self._net = OnnxNet(net).to(device)

    @property
    def overlap(self) -> int:
        """Input pixels that tiles should reach into each other, measured on a picture of random rectangles."""
        return overlap.least(self.run, [_rectangles()], self.scale, TOLERANCE).pixels

    def run(self, low: Float[np.ndarray, "b c h w"]) -> Float[np.ndarray, "b c H W"]:
        """Enlarge a float image in [0, 1] of any size."""
        return padded(self._net.run, low, self.card.multiple_of, self.scale)


def _rectangles(side: int = 96) -> Float[np.ndarray, "1 3 h w"]:
    """Overlapping rectangles of every size, whose edges and areas are spread as in photographs."""
    rng = seeds.generator(0, "rectangles")
    image = np.zeros((1, 3, side, side), np.float32)
    for share in torch.rand(200, 8, generator=rng).tolist():
        size = int(min(2 / (share[0] + 1 / side), side))
        top, left = int(share[1] * side) - size // 2, int(share[2] * side) - size // 2
        wide = int(size * (0.5 + share[3]))
        image[0, :, max(top, 0) : max(top + size, 0), max(left, 0) : max(left + wide, 0)] = np.reshape(
            share[4:7], (3, 1, 1)
        )
    return image

"""A SwinIR under its authors' tensor names, as spandrel, and all that is built on it, knows it.

spandrel has neither DRN nor EDSR (0.4.2); spandrel_plugin.py brings it DRN and compressed networks.
"""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from srfoundry.core import seeds
from srfoundry.core.errors import FoundryError
from srfoundry.deployment.foreign.conversion import Converted, demand
from srfoundry.networks import published_weights
from srfoundry.networks.zoo import cards

KNOWN = ["swinir"]
TOLERANCE = 1e-5


def convert(model: Path) -> Converted:
    """The weights under their authors' names; taken back they are this network's, bit for bit.

    Raises:
        FoundryError: the network is none that spandrel knows.
    """
    net, card = cards.load(model)
    if card.arch["name"] not in KNOWN:
        raise FoundryError(
            f"spandrel knows {', '.join(KNOWN)} of our networks, got {card.arch['name']!r} in {model}; "
            "for a DRN see srfoundry.deployment.foreign.spandrel_plugin"
        )
    theirs = published_weights.to_authors(net, card.arch)
    back, arch = published_weights.from_authors(theirs, card.arch)
    same = all(torch.equal(value, back.state_dict()[name]) for name, value in net.state_dict().items())
    if arch != card.arch or not same:
        raise FoundryError(
            f"the weights of {model} must survive the change of names, and do not; report it to its makers"
        )
    files = {f"{model.stem}-x{card.scale}.safetensors": safetensors.torch.save(theirs)}
    if importlib.util.find_spec("spandrel") is None:
        return Converted(files, 0.0, "taken back by `srfoundry import`; not opened: pip install spandrel")
    worst = measure(theirs, net, card)
    demand(worst, TOLERANCE, "spandrel")
    return Converted(files, worst, "spandrel's network and ours in PyTorch")


def measure(state: dict[str, torch.Tensor], net: torch.nn.Module, card: cards.Card) -> float:
    """The largest |spandrel - ours| on a random image of a size that neither pads.

    Args:
        state: the weights that spandrel is given.
        net: ours.
        card: its card.
    """
    spandrel: Any = importlib.import_module("spandrel")  # in no extra, for it wants torchvision
    theirs = spandrel.ModelLoader().load_from_state_dict(dict(state))
    if theirs.scale != card.scale:
        return float("nan")
    size = (1, 3, 4 * card.multiple_of, 6 * card.multiple_of) if card.multiple_of > 1 else (1, 3, 37, 53)
    low = torch.rand(size, generator=seeds.generator(0, "spandrel"))
    with torch.no_grad():
        return float((theirs(low).clamp(0, 1) - net(low).clamp(0, 1)).abs().max())

"""What was made of an image under a kernel that may be wrong, fused with milder restorations of it."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind import guard
from srfoundry.blind.auto.deciding import DOUBTED
from srfoundry.blind.decision import Decision
from srfoundry.degradation import linear_enlargement
from srfoundry.degradation.observation import Observation
from srfoundry.imaging import resize
from srfoundry.imaging.tensor_tiles import tiled
from srfoundry.networks.nonblind.degradation_classifier import luma
from srfoundry.networks.nonblind.fusion import NOISE, Fusion

STRONG = 10 / 255  # noise that the milder linear enlargement supposes, at least
DISTANCE, MOST = 30.0, 3.0  # that distances between views are multiplied by; where the measure of ringing is cut
# Share of what the network would change. Of 35 images of photographs that no network had learned from, gain in dB by
# all of it 0.42 (-1.57 to 3.88), by this 0.41 (-1.07 to 3.03), by half of it 0.32 (-0.45 to 1.82).
TRUSTED = 0.8
LEAST = 1e-3  # chance that an image is sharp below which it is no doubt at all
TILE, OVERLAP = 1024, 32  # pixels a side that are fused at once, and that tiles reach into each other


def sure(decision: Decision) -> bool:
    """Whether the image is surely blurred; one that is in doubt, perhaps a thumbnail, is not fused.

    Of 400 thumbnails of training photographs, some of them soft, 19 are taken for blurred in doubt; they would lose 0.6
    dB by it in the mean and one of them 10, although the network has met 71 such thumbnails; five doubtful blurred ones
    would gain 0.9.
    """
    return decision.chance >= DOUBTED


def views(
    observation: Observation, decision: Decision, given: Float[Tensor, "1 3 H W"], restored: Float[Tensor, "1 3 H W"]
) -> Float[Tensor, "1 v H W"]:
    """Luminance of the images that are fused, in the order in which the network takes them.

    Args:
        observation: the image and its kernel.
        decision: to restore it.
        given: the image that would be given out.
        restored: the restorer's image with the kernel alone.
    """
    low, scale = observation.low, observation.scale
    linear = [
        linear_enlargement.fitted(low, observation.kernel, scale, noise=noise)(low)
        for noise in (decision.noise, max(STRONG, 2 * decision.noise))
    ]
    plain = resize.cubic_at(low, scale, decision.phase)
    return torch.cat([light(each.to(low).clamp(0, 1)) for each in (given, restored, *linear, plain)], dim=1)


def known_of(every: Float[Tensor, "1 v H W"], decision: Decision, scale: int) -> Float[Tensor, "1 n"]:
    """What the network knows of the whole image.

    Args:
        every: its views.
        decision: to restore it.
        scale: that it was enlarged by.
    """
    rings = guard.ringing(every[:, 1:2], every[:, -1:])
    apart = (every[0, 1:] - every[0, 0]).square().mean(dim=(-2, -1)).sqrt()
    doubt = math.log10(max(1 - decision.chance, LEAST) / LEAST)
    numbers = [NOISE * decision.noise, scale / 2 - 1, doubt, min(max(rings / guard.RINGING, -MOST), MOST)]
    return torch.cat([torch.tensor(numbers), (DISTANCE * apart.cpu() + 1e-2).log10()])[None]


def light(image: Float[Tensor, "1 3 H W"]) -> Float[Tensor, "1 1 H W"]:
    """Luminance; what is added to it is added to every colour."""
    return luma(image)[:, None]


def fused(
    net: Fusion,
    observation: Observation,
    decision: Decision,
    given: Float[Tensor, "1 3 H W"],
    restored: Float[Tensor, "1 3 H W"],
) -> Float[Tensor, "1 3 H W"]:
    """The image that would be given out, its luminance fused; clipped to [0, 1], on the CPU.

    Args:
        net: on any device.
        observation, decision, given, restored: as of `views`.
    """
    device = next(net.parameters()).device
    every = views(observation, decision, given, restored)
    known = known_of(every, decision, observation.scale).to(device)

    def fuse(part: Tensor) -> Tensor:
        with torch.inference_mode():
            return net(part.to(device), known)

    made = tiled(fuse, every, 1, tile=TILE, overlap=OVERLAP, channels=1)
    return (given + TRUSTED * (made - every[:, :1]).to(given)).clamp(0, 1)

"""ZSSR: a small network trained from nothing on one image and its own reduced copy.

Shocher, Cohen and Irani, "Zero-Shot" Super-Resolution using Deep Internal Learning, CVPR 2018, with the blur known:
Adam, L1, random crops under the eight symmetries of the square, a rate that falls by ten when the loss stands still,
and at the end the mean of several turned copies and back-projection. What MZSR's few steps stand against.
"""

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.core import seeds
from srfoundry.degradation import back_projection
from srfoundry.degradation.observation import Observation
from srfoundry.zero_shot import self_pairs
from srfoundry.zero_shot.adaptation import Adaptation
from srfoundry.zero_shot.restoration import Weights, network_input, restore
from srfoundry.zero_shot.symmetries import SYMMETRIES, Symmetry, turn

RATE, LEAST = 1e-3, 9e-6  # Adam's, at the start and where training ends
LOOK_EVERY, LOOK_BACK = 60, 256  # steps between two looks at the loss's slope, and the steps that it is fitted to
SLOPE = 1.5  # the rate falls once the loss does so by less than 1 / 1.5 deviations of its slope's estimate
ALIKE = 1e-3  # of a kernel's largest tap: it counts as the same when turned


def train(
    net: nn.Module,
    observation: Observation,
    *,
    steps: int = 3000,
    seed: int = 0,
    crop: int = 128,
    log: Callable[[int, float], None] = lambda step, loss: None,
) -> Adaptation:
    """Train a network of the architecture of `net`, from random weights, on one image.

    Args:
        net: gives the architecture and the enlargement of its input; its weights are neither used nor changed.
        observation: one image; its reduced copies are degraded as it was, noise included.
        steps: at most; training ends sooner when the rate has fallen below 9e-6.
        seed: of the weights, the crops and the noise; the same seed gives the same weights.
        crop: pixels a side of the image that train at once, or all of a smaller image.
        log: takes each step and its loss.

    Raises:
        FoundryError: as adaptation.adapt.
    """
    self_pairs.check(net, observation)
    low, scale = observation.low, observation.scale
    fresh = _fresh(net, seed)
    target = low[..., : low.shape[-2] // scale * scale, : low.shape[-1] // scale * scale].float()
    rng = seeds.generator(seed, "zssr", "steps")
    pairs = []
    for symmetry in SYMMETRIES:  # the blur and the decimation stay as they are: each copy is one more photograph
        turned = replace(observation, low=turn(target, symmetry))
        reduced = replace(observation, low=turned.reduced(rng=rng))
        pairs.append((network_input(net, reduced), turned.low))
    adam = torch.optim.Adam(fresh.parameters(), lr=RATE)
    losses: list[float] = []
    changed = 0
    for step in range(steps):
        enlarged, wanted = pairs[int(torch.randint(len(pairs), (1,), generator=rng))]
        window = _crop(wanted, crop, rng)
        loss = fresh(enlarged[window]).sub(wanted[window]).abs().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
        log(step, losses[-1])
        if (step + 1) % LOOK_EVERY == 0 and stands_still(losses[changed:][-LOOK_BACK:]):
            changed = step + 1
            adam.param_groups[0]["lr"] /= 10
            if adam.param_groups[0]["lr"] < LEAST:
                break
    weights = {name: value.detach() for name, value in fresh.named_parameters()}
    finite = all(bool(torch.isfinite(value).all()) for value in weights.values())
    return Adaptation(weights, losses, [], len(losses), diverged=not finite)


def ensemble(
    net: nn.Module, observation: Observation, *, weights: Weights | None = None, close: int = 0
) -> Float[Tensor, "1 3 H W"]:
    """The median of restored turned copies, turned back; each, and it, after `close` back-projections (ZSSR sec. 3.2).

    Only those of the eight symmetries take part which leave the kernel as it is: of an oblique Gaussian, two.
    """
    kernel, scale = observation.kernel, observation.scale
    plain = restore(net, observation, weights=weights)
    shift = scale - 1 if kernel is not None and observation.decimation == "direct" else 0  # another pixel is kept then
    found = []
    for symmetry in SYMMETRIES:
        if kernel is not None and not _alike(kernel, turn(kernel[:, None], symmetry)[:, 0]):
            continue
        turned = replace(observation, low=turn(observation.low, symmetry))
        found.append(_back(restore(net, turned, weights=weights), symmetry, shift, plain))
    closed = [back_projection.close(image, observation, steps=close) for image in found]
    middle = torch.stack(closed).quantile(0.5, dim=0)  # of an even number the mean of the two in the middle
    return back_projection.close(middle, observation, steps=close)


def stands_still(losses: list[float]) -> bool:
    """Whether the loss falls no faster than chance would let it seem to (ZSSR's rule: a linear fit and its error)."""
    if len(losses) < LOOK_BACK or not np.isfinite(losses).all():
        return False
    (slope, _), covariance = np.polyfit(np.arange(len(losses)), losses, 1, cov=True)
    return bool(-SLOPE * slope < np.sqrt(covariance[0, 0]))


def _fresh(net: nn.Module, seed: int) -> nn.Module:
    """A copy of a network with random weights that begins as its input: the last layer starts at zero."""
    fresh = copy.deepcopy(net).train()
    seeds.redraw(fresh, seeds.generator(seed, "zssr", "weights"))
    last = [module for module in fresh.modules() if isinstance(module, nn.Conv2d)][-1]
    for value in last.parameters():
        nn.init.zeros_(value)
    return fresh


def _crop(image: Tensor, side: int, rng: torch.Generator) -> tuple[slice, ...]:
    spans = []
    for extent in image.shape[-2:]:
        first = int(torch.randint(max(extent - side, 0) + 1, (1,), generator=rng))
        spans.append(slice(first, first + side))
    return (slice(None), slice(None), *spans)


def _alike(kernel: Tensor, turned: Tensor) -> bool:
    return bool((kernel - turned).abs().max() <= ALIKE * kernel.max())


def _back(image: Tensor, symmetry: Symmetry, shift: int, plain: Tensor) -> Tensor:
    """Turn back. Along a flipped axis the image lies `shift` pixels too far; the end of `plain` fills the gap."""
    up, left, swap = symmetry
    image = image.transpose(-2, -1) if swap else image
    for dim, flip in ((-2, up), (-1, left)):
        if flip:
            extent = image.shape[dim]
            moved = image.flip(dim).narrow(dim, shift, extent - shift)
            image = torch.cat([moved, plain.narrow(dim, extent - shift, shift)], dim=dim)
    return image

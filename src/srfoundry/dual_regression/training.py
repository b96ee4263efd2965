"""Dual regression: train P (low -> high) so that a learned D brings its result back (DRN, Guo et al., CVPR 2020).

P is any SRNetwork, D any module from the list of its images to the list of smaller ones (networks.sr.duals,
networks.sr.kernel_dual).
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from srfoundry.core.compute import channels_last
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.core.state import Resumption
from srfoundry.degradation.random_degradation import degraded
from srfoundry.degradation.settings import RandomDegradation
from srfoundry.dual_regression.batches import Batches
from srfoundry.dual_regression.loss import Loss
from srfoundry.imaging import metrics
from srfoundry.imaging.patches import Patches, crop_to_multiple
from srfoundry.networks.sr.network import SRNetwork, sr_network
from srfoundry.networks.zoo.architectures import ARCHITECTURES, Role, names
from srfoundry.networks.zoo.cards import Card, load
from srfoundry.training.loop import fit
from srfoundry.training.optimiser import Optimisation
from srfoundry.training.prefetch import fed
from srfoundry.training.schedules import restarted
from srfoundry.training.settings import Descent

VALIDATION = 0  # seed of the degradations that validation photographs go through


def train(
    net: nn.Module,
    duals: nn.Module,
    loss: Loss,
    batches: Batches,
    descent: Descent,
    *,
    resumption: Resumption,
    restarts: int = 1,
    skip: float = 0.0,
) -> list[dict[str, float]]:
    """Train primal and dual together (Adam, warm-up, cosine to zero); `net` ends with its averaged weights.

    Args:
        net: the primal.
        duals: its dual nets.
        loss: from `loss_of` with these dual nets.
        batches: the batch of each step; their stream's name is the progress bar's.
        descent: steps and rates.
        resumption: where a killed training goes on from, and who watches the curve.
        restarts: cosines one after the other.
        skip: as in `Optimisation`.

    Returns:
        The curve: of each row its step and the means of the loss terms.
    """
    optimisation = Optimisation(net, duals, descent, skip=skip, fused=True, processes=batches.processes)
    # where a thread draws ahead, a kernel that is learned would be read while it moves
    parts = batches.parts
    many = len(parts)

    def make(at: int) -> dict[int, Tensor]:
        return parts[at % many](at // many)

    batch = make if batches.blur is not None else fed(make, next(net.parameters()).device)

    def step(index: int) -> Mapping[str, Tensor | float]:
        rate = restarted(index, descent.steps, descent.learning_rate, warmup=descent.warmup, restarts=restarts)
        terms = ((loss(net, batch(many * index + number)), part.share) for number, part in enumerate(parts))
        return optimisation.update_in_parts(terms, rate)

    title = batches.stream.name
    history = fit(step, steps=descent.steps, state=optimisation.state, resumption=resumption, title=title)
    optimisation.finish()
    return history


def reopen(primal: Path, duals: Path, device: torch.device) -> tuple[SRNetwork, nn.Module, Card]:
    """Load a primal, its dual nets and the primal's card from their files onto a device.

    Raises:
        FoundryError: a file is missing or damaged, or holds a network of another role.
    """
    net, card = _load(primal, "primal")
    mapping, _ = _load(duals, "dual")
    return channels_last(sr_network(net), device), mapping.to(device), card


def _load(path: Path, role: Role) -> tuple[nn.Module, Card]:
    net, card = load(path)
    found = card.arch["name"]
    if ARCHITECTURES[found].role != role:
        raise FoundryError(f"{path} must hold a {role} network ({', '.join(names(role))}), got {found}; make it again")
    return net, card


def validate(
    net: nn.Module,
    patches: Patches,
    *,
    scale: int,
    device: torch.device,
    degradation: RandomDegradation | None = None,
) -> dict[str, float]:
    """PSNR-Y in dB on the whole photographs of a set, and its gain over MATLAB's bicubic; `scale` pixels cropped.

    Args:
        degradation: of the photographs, one each, always the same; None is MATLAB's bicubic.
    """

    def restored(name: str) -> tuple[Tensor, Tensor, Tensor]:
        high, low = patches.image(name), patches.image(name, scale)
        if degradation is not None:
            high = crop_to_multiple(high, scale)
            low = degraded(high, scale, degradation, rng=generator(VALIDATION, name)).low
        return net(low.to(device)), low, high

    with torch.inference_mode():
        return metrics.gains(map(restored, patches.photographs()), scale)

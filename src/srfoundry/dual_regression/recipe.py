"""The recipe of a family's dense network: drawn, started at bicubic, trained in the closed loop, scored."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from srfoundry.core.compute import Compute, channels_last
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import Stream, redraw
from srfoundry.core.state import Resumption
from srfoundry.degradation.settings import RandomDegradation
from srfoundry.dual_regression.batches import Batches
from srfoundry.dual_regression.loss import loss_of
from srfoundry.dual_regression.settings import DenseTraining
from srfoundry.dual_regression.training import train, validate
from srfoundry.dual_regression.unpaired import Unpaired, read_kernels, read_unpaired
from srfoundry.imaging.patches import Patches
from srfoundry.networks.sr.kernel_dual import KernelDual
from srfoundry.networks.zoo import cards
from srfoundry.networks.zoo.architectures import ARCHITECTURES, build
from srfoundry.training.loop import last_value


@dataclass(frozen=True)
class Dense:
    """A trained dense network, its dual map, the curve of the training and what is said of it."""

    net: nn.Module
    duals: nn.Module
    history: list[dict[str, float]]
    scores: dict[str, Any]


def train_dense(
    how: DenseTraining,
    photographs: tuple[Patches, Patches],
    unpaired: Path,
    compute: Compute,
    stream: Stream,
    *,
    resumption: Resumption,
    start: Path | None = None,
) -> Dense:
    """Train a dense network and its dual map.

    Args:
        how: what they are and how they are trained.
        photographs: to train on, and for the scores.
        unpaired: folder of images without a photograph, if there is a share of them.
        compute: where the nets run.
        stream: of the random numbers.
        resumption: where a killed training goes on from, and who watches it.
        start: file of a network of the same arch whose weights it starts from; None draws them, near bicubic.

    Raises:
        FoundryError: that network is another.
    """
    net, duals = build(how.arch), build(how.dual_arch)
    redraw(net, stream.rng("net"))
    redraw(duals, stream.rng("duals"))
    ARCHITECTURES[how.arch["name"]].start_at_bicubic(net)
    if start is not None:
        first, card = cards.load(start)
        if card.arch != how.arch:
            raise FoundryError(f"{start} must be of the arch {dict(how.arch)} to start from, got {card.arch}")
        net.load_state_dict(first.state_dict())
    net, duals = channels_last(net, compute.device), duals.to(compute.device)
    scale, (training, validation) = how.arch["scale"], photographs
    batches = Batches(
        patches=training,
        draws=how.draws,
        scale=scale,
        stream=stream,
        unpaired=_unpaired(unpaired, how, scale),
        degradation=how.degradation,
        device=compute.device,
        processes=compute.processes,
        accumulate=compute.accumulate,
    )
    loss = loss_of(duals, scale=scale, weights=how.weights, compute=compute)
    history = train(net, duals, loss, batches, how.descent, resumption=resumption, restarts=how.restarts, skip=how.skip)
    score = partial(validate, net, validation, scale=scale, device=compute.device)
    scores = {
        "validation": score(),
        "parameters": sum(weight.numel() for weight in net.parameters()),
        "loss": last_value(history, "total"),
    }
    if how.degradation.degradation != "bicubic":
        scores["validation_degraded"] = score(degradation=how.degradation)
    return Dense(net, duals, history, scores)


def trained_for(degradation: RandomDegradation | None, duals: nn.Module) -> dict[str, Any]:
    """What the card of a net says of its training pairs; nothing where they were reduced by MATLAB's bicubic alone.

    Args:
        degradation: of the pairs, the latest that it was trained on.
        duals: the dual map that closed the loop.
    """
    if degradation is None or degradation.degradation == "bicubic":
        return {}
    dual_map = "operator" if isinstance(duals, KernelDual) else "learned"
    return {cards.TRAINED_FOR: {**asdict(degradation), "dual_map": dual_map}}


def _unpaired(folder: Path, how: DenseTraining, scale: int) -> Unpaired:
    """Images without a photograph, with their kernels where the operator is the dual map."""
    if not how.unpaired_share:
        return Unpaired()
    images = read_unpaired(folder, how.draws.patch // scale)
    known = read_kernels(folder, scale) if how.dual_arch["name"] == "kernel_dual" else ()
    return Unpaired(images=images, share=how.unpaired_share, kernels=known)

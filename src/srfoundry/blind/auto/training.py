"""Training of the classifier of degradations on the features of windows."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn import functional

from srfoundry.blind.auto import histories
from srfoundry.blind.auto.samples import THUMBNAILS, Windows, collect_windows, window_patches
from srfoundry.blind.nonblind_settings import ClassifierDescent
from srfoundry.core.seeds import Stream, redraw
from srfoundry.core.state import Resumption, Stateful, silent
from srfoundry.degradation import sharpening
from srfoundry.imaging.patches import Patches
from srfoundry.networks.nonblind.degradation_classifier import DegradationClassifier
from srfoundry.training.loop import fit
from srfoundry.training.optimiser import gradients_in_parts
from srfoundry.training.schedules import cosine

JITTER, ROUGHER = 0.1, 0.5  # noise on the features in training, in their deviations; where edges are learned
WEIGHT_DECAY = 1e-2
RARE = 1e-2  # added to the features' deviations, for bins that few windows have anything in
DROPPED = 0.5  # share of the hidden values that edges and masks are learned without: few photographs make all windows
SLOWER, HEAVIER = 0.5, 30.0  # rate and decay of that network's weights, of the others'
BATCH = 256  # windows a step
AT_ONCE = 32  # photographs that are degraded together
HALVED = 0.3  # share of photographs at half size
MASKED = 1 / 3  # as many further windows, of all others, are thumbnails that may be sharpened
FIRMER, RUGGED = 10.0, 0.3  # decay of the weights of what tells masks apart, of the others', and noise on its features


def taught_classifier(
    patches: Patches,
    descent: ClassifierDescent,
    *,
    softness: float,
    scales: Sequence[int],
    stream: Stream,
    resumption: Resumption,
) -> tuple[DegradationClassifier, dict[str, Any], list[dict[str, float]]]:
    """A classifier that learned from windows of photographs.

    Args:
        patches: the photographs.
        descent: how many windows, and how it learns.
        softness: largest variance, px^2, of the blur that some of the photographs have of their own.
        scales: that it is trained for.
        stream: of what is random.
        resumption: of the training; the windows are kept beside it.

    Returns:
        the network, what it is built from (its card's arch), and the curve.
    """
    sharp = {scale: window_patches(patches, scale, octave=HALVED, batch=AT_ONCE) for scale in scales}
    kept = resumption.beside("windows", silent)
    collect = partial(collect_windows, sharp, softness=softness, scales=scales, stream=stream)
    seen = collect(windows=descent.windows, resumption=kept)
    kept = resumption.beside("thumbnails", silent)
    thumbnails = collect(
        windows=math.ceil(MASKED * descent.windows), resumption=kept, turn=[THUMBNAILS], name="thumbnail"
    )
    shape = {"histories": len(histories.NAMES), "sharp": len(histories.SHARP), "masks": sharpening.PLACES}
    arch, classifier = {"name": "classifier", **shape}, DegradationClassifier(**shape)
    curve = train_classifier(classifier, seen, thumbnails, descent, stream=stream, resumption=resumption)
    return classifier, arch, curve


def train_classifier(
    classifier: DegradationClassifier,
    windows: Windows,
    thumbnails: Windows,
    descent: ClassifierDescent,
    *,
    stream: Stream,
    resumption: Resumption,
) -> list[dict[str, float]]:
    """Draw the weights anew and fit them (AdamW): the cross entropy of all histories, of the sharp ones by edges, and
    of the masks of thumbnails.

    Returns:
        the curve: `loss`, and `held_out`, the share of the last twentieth of the windows that is taken for another.
    """
    features, histories, sharp, photographs = windows.all()
    halos, masks, *_ = thumbnails.all()
    kept = max(1, len(features) * 19 // 20)
    every, edges = (_places(chosen[:kept]) for chosen in (~sharp, sharp))
    held = kept + _places(~sharp[kept:])
    with torch.no_grad():
        usual = features[:kept][photographs[:kept]]  # drawings' spread would make small what tells photographs apart
        classifier.centre.copy_(usual.mean(dim=0))
        classifier.spread.copy_(usual.std(dim=0) + RARE)
    redraw(classifier, stream.rng("classifier"))
    processes, weights = resumption.processes, list(classifier.parameters())
    processes.same_weights(classifier)
    own, share = processes.rows(BATCH), processes.share(BATCH)
    late = [*classifier.edges.parameters(), *classifier.made.parameters()]
    early = [*classifier.body.parameters(), *classifier.head.parameters()]
    last = [*classifier.halos.parameters(), *classifier.mask.parameters()]
    groups = [
        {"params": early},
        {"params": late, "weight_decay": HEAVIER * WEIGHT_DECAY},
        {"params": last, "weight_decay": FIRMER * WEIGHT_DECAY},
    ]
    optimiser = torch.optim.AdamW(groups, lr=descent.rate, weight_decay=WEIGHT_DECAY)

    def step(index: int) -> Mapping[str, Tensor | float]:
        rng = stream.rng("classifier", index)
        rows = [places[torch.randint(len(places), (BATCH,), generator=rng)][own] for places in (every, edges)]
        noise = [torch.randn(BATCH, features.shape[1], generator=rng)[own] * classifier.spread for _ in rows]
        hidden = (torch.rand(BATCH, classifier.made.in_features, generator=rng) >= DROPPED) / (1 - DROPPED)
        third = torch.randint(len(halos), (BATCH,), generator=rng)[own]
        rugged = RUGGED * classifier.spread * torch.randn(BATCH, features.shape[1], generator=rng)[own]
        beside = (torch.rand(BATCH, classifier.mask.in_features, generator=rng) >= DROPPED) / (1 - DROPPED)
        for group, pace in zip(optimiser.param_groups, (1.0, SLOWER, 1.0), strict=True):
            group["lr"] = pace * cosine(index, descent.steps, descent.rate, warmup=min(100, descent.steps // 10))
        spectral = classifier.by_spectrum(features[rows[0]] + JITTER * noise[0])
        made = classifier.by_edges(features[rows[1]] + ROUGHER * noise[1], kept=hidden[own])
        loss = functional.cross_entropy(spectral, histories[rows[0]])
        loss = loss + functional.cross_entropy(made, histories[rows[1]].clamp_max(classifier.sharp - 1))
        sharpened = classifier.by_halos(halos[third] + rugged, kept=beside[own])
        loss = loss + functional.cross_entropy(sharpened, masks[third])
        whole = gradients_in_parts(processes, weights, [({"total": loss}, share)])
        optimiser.step()
        with torch.no_grad():
            missed = (classifier(features[held]).argmax(dim=1) != histories[held]).float().mean()
        return {"loss": whole["total"], "held_out": missed}

    state: dict[str, Stateful] = {"classifier": classifier, "optimiser": optimiser}
    return fit(step, steps=descent.steps, state=state, resumption=resumption, title=f"{stream.name} classifier")


def _places(chosen: Bool[Tensor, " m"]) -> Int[Tensor, " n"]:
    """Where it is true; everywhere if that is nowhere."""
    places = chosen.nonzero()[:, 0]
    return places if len(places) else torch.arange(len(chosen))

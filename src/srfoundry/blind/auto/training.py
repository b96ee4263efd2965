"""Training of the classifier of degradations on the features of windows."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from srfoundry.blind.auto import histories
from srfoundry.blind.auto.samples import Windows, collect_windows, window_patches
from srfoundry.blind.nonblind_settings import ClassifierDescent
from srfoundry.core.seeds import Stream, redraw
from srfoundry.core.state import Resumption, Stateful, silent
from srfoundry.imaging.patches import Patches
from srfoundry.networks.nonblind.degradation_classifier import DegradationClassifier
from srfoundry.training.loop import fit
from srfoundry.training.optimiser import gradients_in_parts
from srfoundry.training.schedules import cosine

JITTER, ROUGHER = 0.1, 0.5  # noise on the features in training, in their deviations; where edges are learned
WEIGHT_DECAY = 1e-2
RARE = 1e-2  # added to the features' deviations, for bins that few windows have anything in
DROPPED = 0.5  # share of the hidden values that edges are learned without, as few photographs make all windows
SLOWER, HEAVIER = 0.5, 30.0  # rate and decay of that network's weights, of the others'
BATCH = 256  # windows a step
AT_ONCE = 32  # photographs that are degraded together
HALVED = 0.3  # share of photographs at half size


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
    seen = collect_windows(
        sharp, windows=descent.windows, softness=softness, scales=scales, stream=stream, resumption=kept
    )
    shape = {"histories": len(histories.NAMES), "sharp": len(histories.SHARP)}
    arch, classifier = {"name": "classifier", **shape}, DegradationClassifier(**shape)
    return classifier, arch, train_classifier(classifier, seen, descent, stream=stream, resumption=resumption)


def train_classifier(
    classifier: DegradationClassifier,
    windows: Windows,
    descent: ClassifierDescent,
    *,
    stream: Stream,
    resumption: Resumption,
) -> list[dict[str, float]]:
    """Draw the weights anew and fit them: the histories' cross entropy, of the sharp ones twice (AdamW).

    Returns:
        the curve: `loss`, and `held_out`, the share of the last twentieth of the windows that is taken for another.
    """
    features, histories = windows.all()
    kept = max(1, len(features) * 19 // 20)
    with torch.no_grad():
        classifier.centre.copy_(features[:kept].mean(dim=0))
        classifier.spread.copy_(features[:kept].std(dim=0) + RARE)
    redraw(classifier, stream.rng("classifier"))
    processes, weights = resumption.processes, list(classifier.parameters())
    processes.same_weights(classifier)
    own, share = processes.rows(BATCH), processes.share(BATCH)
    late = [*classifier.edges.parameters(), *classifier.made.parameters()]
    early = [*classifier.body.parameters(), *classifier.head.parameters()]
    groups = [{"params": early}, {"params": late, "weight_decay": HEAVIER * WEIGHT_DECAY}]
    optimiser = torch.optim.AdamW(groups, lr=descent.rate, weight_decay=WEIGHT_DECAY)

    def step(index: int) -> Mapping[str, Tensor | float]:
        rng = stream.rng("classifier", index)
        chosen = torch.randint(kept, (BATCH,), generator=rng)
        noise = torch.randn(BATCH, features.shape[1], generator=rng)
        noise = (classifier.spread * noise)[own]
        hidden = (torch.rand(BATCH, classifier.made.in_features, generator=rng) >= DROPPED) / (1 - DROPPED)
        for group, pace in zip(optimiser.param_groups, (1.0, SLOWER), strict=True):
            group["lr"] = pace * cosine(index, descent.steps, descent.rate, warmup=min(100, descent.steps // 10))
        loss = _loss(classifier, features[chosen][own], noise, hidden[own], histories[chosen][own])
        whole = gradients_in_parts(processes, weights, [({"total": loss}, share)])
        optimiser.step()
        with torch.no_grad():
            missed = (classifier(features[kept:]).argmax(dim=1) != histories[kept:]).float().mean()
        return {"loss": whole["total"], "held_out": missed}

    state: dict[str, Stateful] = {"classifier": classifier, "optimiser": optimiser}
    return fit(step, steps=descent.steps, state=state, resumption=resumption, title=f"{stream.name} classifier")


def _loss(classifier: DegradationClassifier, features: Tensor, noise: Tensor, kept: Tensor, true: Tensor) -> Tensor:
    every = classifier.by_spectrum(features + JITTER * noise)
    made = classifier.by_edges(features + ROUGHER * noise, kept=kept)
    sharp = functional.cross_entropy(made, true.clamp_max(classifier.sharp - 1), reduction="none")
    return functional.cross_entropy(every, true) + (sharp * (true < classifier.sharp)).mean()

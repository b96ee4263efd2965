"""What internal learning can give at all: hundreds of steps on one image, and the best of them chosen with the truth.

ZSSR (Shocher et al., CVPR 2018) trains for thousands of steps on one image. Here its course starts at the trained net,
at two rates, or at random weights, each step on another turned copy of the middle of the photograph. `oracle` is the
best of all steps and rates of an image by its original, which nobody has: no rule that chooses a step can give more.
`agreement` says why: the cosine between what self-pairs would change in the weights and what the original would.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks._adaptation_classes import SCALE, Case
from srfoundry.core import seeds
from srfoundry.degradation.observation import Observation
from srfoundry.imaging import metrics
from srfoundry.training.schedules import cosine
from srfoundry.zero_shot.adaptation import Adam
from srfoundry.zero_shot.recipe import Recipe
from srfoundry.zero_shot.restoration import Weights, network_input, restore
from srfoundry.zero_shot.self_pairs import SelfPairs

LOOKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 350, 500)  # steps after which the image is restored and compared
RATES = (3e-5, 2e-4)  # Adam's, from the trained net
SIDE = 224  # high-resolution pixels of a photograph's middle
FRESH = 1e-3  # from random weights, falling to 0 (ZSSR: falling by ten whenever the loss stands still)
ON_CARD = Recipe([], descent="adam")


def psnr(net: nn.Module, observation: Observation, weights: Weights, high: Tensor) -> float:
    """PSNR-Y in dB of what some weights make of an image."""
    return metrics.psnr_y(restore(net, observation, weights=weights), high, SCALE)


def course(net: nn.Module, case: Case, start: Weights, rates: Sequence[float]) -> dict[str, float]:
    """PSNR-Y after so many of Adam's steps on turned copies, by the number of steps.

    Args:
        net: its architecture and enlargement.
        case: one image, its true kernel given.
        start: weights before the first step.
        rates: of each step.
    """
    adam, weights, found = Adam(start), start, dict[str, float]()
    for step in range(len(rates) + 1):
        if step in LOOKS:
            found[str(step)] = psnr(net, case.observation, weights, case.high)
        if step < len(rates):
            copy = SelfPairs.turned(net, case.observation, ON_CARD, step)
            weights = adam.step(copy.loss(net, weights, slope=True).slope, [rates[step]] * len(weights))
    return found


def ceiling(net: nn.Module, case: Case) -> dict[str, Any]:
    """The courses of one image from the trained net, and why they end as they do."""
    seen, trained = case.smaller(SIDE), {name: value.detach() for name, value in net.named_parameters()}
    courses = {f"{rate:g}": course(net, seen, trained, [rate] * LOOKS[-1]) for rate in RATES}
    return {**courses, "agreement": agreement(net, seen, trained)}


def from_nothing(net: nn.Module, case: Case) -> dict[str, Any]:
    """ZSSR's course of one image: from random weights, beside the trained net and the input of both."""
    seen, steps = case.smaller(SIDE), LOOKS[-1]
    with torch.no_grad():
        linear = metrics.psnr_y(network_input(net, seen.observation)[:, :3].clamp(0, 1), seen.high, SCALE)
    trained = metrics.psnr_y(restore(net, seen.observation), seen.high, SCALE)
    rates = [cosine(step, steps, FRESH) for step in range(steps)]
    return {"linear": linear, "trained": trained, **course(net, seen, _random(net), rates)}


def agreement(net: nn.Module, case: Case, weights: Weights) -> float:
    """Cosine between the slope of the mean loss on all four starting pixels' self-pairs and that of the true loss."""
    own = SelfPairs.of(net, case.observation, Recipe([], self_pairs=SCALE**2)).loss(net, weights, slope=True).slope
    pair = SelfPairs(network_input(net, case.observation), case.high, torch.zeros_like(case.high[:, :1]).bool())
    true = pair.loss(net, weights, slope=True).slope
    first, second = (torch.cat([one.flatten() for one in slope]) for slope in (own, true))
    return float(torch.nn.functional.cosine_similarity(first, second, dim=0))


def summary(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """The curves of each class: gains in dB over no step, means over its images.

    Args:
        rows: what `ceiling` found, by class.
    """
    found: dict[str, Any] = {}
    for group, each in rows.items():
        zero = [row[f"{RATES[0]:g}"]["0"] for row in each]
        curves = {
            f"{rate:g}": {
                str(look): _mean(row[f"{rate:g}"][str(look)] - none for row, none in zip(each, zero, strict=True))
                for look in LOOKS
            }
            for rate in RATES
        }
        best = [max(row[f"{rate:g}"][str(look)] for rate in RATES for look in LOOKS) for row in each]
        within = [max(row[f"{rate:g}"][str(look)] for rate in RATES for look in LOOKS if look <= 10) for row in each]
        found[group] = {
            "images": len(each),
            "psnr_y": _mean(zero),
            "gain": curves,
            "oracle": _mean(one - none for one, none in zip(best, zero, strict=True)),
            "oracle_within_ten": _mean(one - none for one, none in zip(within, zero, strict=True)),
            "agreement": _mean(row["agreement"] for row in each),
        }
    return found


def summary_from_nothing(rows: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """PSNR-Y of each class by the number of steps, of the trained net without a step, and of the input of both."""
    return {
        group: {"images": len(each)} | {name: _mean(row[name] for row in each) for name in each[0]}
        for group, each in rows.items()
    }


def _mean(values: Any) -> float:
    taken = list(values)
    return round(sum(taken) / len(taken), 4)


def _random(net: nn.Module) -> Weights:
    """Weights that begin as the net's input: the last layer is zero (as `zssr` starts)."""
    rng = seeds.generator(0, "adaptation", "ceiling")
    found: Weights = {}
    for name, value in net.named_parameters():  # He et al., "Delving Deep into Rectifiers", ICCV 2015
        drawn = torch.randn(value.shape, generator=rng) if value.dim() > 1 else torch.zeros_like(value)
        found[name] = (drawn * (2 / value[0].numel()) ** 0.5).to(value)
    for name in list(found)[-2:]:
        found[name] = torch.zeros_like(found[name])
    return found

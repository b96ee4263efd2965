"""Ten steps of other kinds on one image at equal work: ten gradients over as many pixels as the image has.

Each is measured after its tenth step, none left out, at several multiples of the card's rates; the best multiple of all
images together is reported, so that no kind loses by a step size that was made for another.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from benchmarks._adaptation_classes import SCALE, Case
from benchmarks._adaptation_replay import Replay
from benchmarks._adaptation_steps import (
    Leaves,
    all_weights,
    channel_gains,
    last_layer,
    low_rank,
    step_factors,
    walk,
)
from srfoundry.degradation.observation import Observation
from srfoundry.imaging import metrics, resize
from srfoundry.zero_shot.recipe import Recipe
from srfoundry.zero_shot.restoration import Weights, restore
from srfoundry.zero_shot.self_pairs import SelfPairs

TURNED = Recipe([], descent="adam")
PLAIN = 0.02 / 2.5e-5  # MZSR's step size over Adam's first
FATHERS = (1.0, 0.85, 0.7)  # sizes of the image that a copy is made of, in turns (ZSSR's several sons)
Made = Callable[[Weights], Leaves]
Copies = Callable[[int], SelfPairs]


@dataclass(frozen=True)
class Kind:
    """One kind of ten steps.

    Args:
        multiples: of the card's rates.
        made: what moves.
        adam: Adam's steps, or plain descent.
        copies: what a step looks at (`copies_of`).
        half: two adaptations, one of each half of the image, and as much of their mean as they agree on.
        learned: with a factor for each weight tensor, from photographs that are not measured.
    """

    multiples: tuple[float, ...] = (4, 16)
    made: Made = all_weights
    adam: bool = True
    copies: str = "turned"
    half: bool = False
    learned: bool = False


KINDS: Mapping[str, Kind] = {
    "the default": Kind((1,)),
    "adam, turned copies": Kind(),
    "plain descent, one pair (MZSR)": Kind((PLAIN / 4, PLAIN), adam=False, copies="one"),
    "last layer": Kind((16, 64), last_layer),
    "biases and channel gains": Kind((64, 256), channel_gains),
    "low rank, 1": Kind((16, 64), lambda weights: low_rank(weights, 1)),
    "low rank, 4": Kind((16, 64), lambda weights: low_rank(weights, 4)),
    "learned factor a tensor": Kind((1, 4), learned=True),
    "copies of three sizes": Kind(copies="sizes"),
    "every other step on patches alike": Kind(copies="replay"),
    "patches alike alone": Kind((16,), copies="alike"),
    "what two halves agree on": Kind(half=True),
}


def variants(net: nn.Module, case: Case, *, recipe: Recipe, replay: Replay, factors: Sequence[float]) -> dict[str, Any]:
    """PSNR-Y of one image after ten steps of each kind and multiple, and processor seconds of one multiple.

    Args:
        net: as it was trained.
        case: one image, its true kernel given.
        recipe: of the card: its rates are the multiples' unit.
        replay: gives patches of the training photographs that look alike.
        factors: of the step sizes, learned on other photographs.
    """
    start = {name: value.detach() for name, value in net.named_parameters()}
    rates = [float(np.mean(rate)) for rate in recipe.rates]
    found: dict[str, Any] = {"zero": metrics.psnr_y(restore(net, case.observation), case.high, SCALE)}
    for name, kind in KINDS.items():
        for multiple in kind.multiples:
            sizes = [multiple * rate for rate in rates]
            began = time.process_time()
            image = _ten(net, case.observation, kind, start, sizes, replay, factors)
            found[f"s {name}"] = time.process_time() - began
            found[f"{name} x{multiple:g}"] = metrics.psnr_y(image, case.high, SCALE)
    return found


def _ten(
    net: nn.Module,
    observation: Observation,
    kind: Kind,
    start: Weights,
    sizes: Sequence[float],
    replay: Replay,
    factors: Sequence[float],
) -> Tensor:
    def adapted(seen: Observation) -> Tensor:
        leaves, copies = kind.made(start), copies_of(net, seen, kind.copies, replay)
        weights = walk(net, leaves, copies, sizes, adam=kind.adam, factors=factors if kind.learned else None)
        return restore(net, observation, weights=weights)

    if not kind.half:
        return adapted(observation)
    before, middle = restore(net, observation), observation.low.shape[-1] // 2
    halves = [replace(observation, low=part) for part in (observation.low[..., :middle], observation.low[..., middle:])]
    first, second = (adapted(half) - before for half in halves)
    mean = (first + second) / 2
    agreed = float(((first * second).sum() / mean.square().sum().clamp(min=1e-12)).clamp(0, 1))
    return (before + agreed * mean).clamp(0, 1)


def copies_of(net: nn.Module, observation: Observation, how: str, replay: Replay) -> Copies:
    """What each step looks at.

    Args:
        how: one = the self-pair; turned = another symmetry and starting pixel each; sizes = the same of the image made
            smaller in turns; alike = patches of the training photographs; replay = they and turned copies in turns.
    """
    one = SelfPairs.of(net, observation, TURNED) if how == "one" else None
    alike = replay.pairs(net, observation) if how in ("alike", "replay") else []  # the search is a part of the work

    def copy(step: int) -> SelfPairs:
        if one is not None:
            return one
        if how == "alike" or (how == "replay" and step % 2):
            return alike[step % len(alike)]
        size = FATHERS[step % len(FATHERS)] if how == "sizes" else 1.0
        seen = observation if size == 1 else replace(observation, low=resize.cubic(observation.low, size))
        return SelfPairs.turned(net, seen, TURNED, step)

    return copy


def learned_factors(net: nn.Module, cases: Sequence[Case], recipe: Recipe) -> list[float]:
    """A factor of the step size for each weight tensor, from photographs whose originals are known.

    The default's ten steps move each tensor by d; the true loss has there the slopes g before and h after them. To
    second order it falls most if d is multiplied by -g d / (h - g) d, the sums over all photographs.
    """
    rates = [float(np.mean(rate)) for rate in recipe.rates]
    start = {name: value.detach() for name, value in net.named_parameters()}
    falls, bends = np.zeros(len(start)), np.zeros(len(start))
    for case in cases:
        weights = walk(net, all_weights(start), copies_of(net, case.observation, "turned", Replay([])), rates)
        moved, before, after = step_factors(net, case, start, weights)
        falls -= [float((g * d).sum()) for g, d in zip(before, moved, strict=True)]
        bends += [float(((h - g) * d).sum()) for g, h, d in zip(before, after, moved, strict=True)]
    return np.where(bends > 0, falls / np.where(bends > 0, bends, 1), np.sign(falls) * 8).clip(0, 8).tolist()


def summary(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """A row a kind: the best multiple of all images, the mean gain, the worst image's, processor seconds.

    Then of each class the mean gain at its own best multiple, and that: a rule that knows the class has no more.
    """
    every, table = [row for each in rows.values() for row in each], list[dict[str, Any]]()
    for name, kind in KINDS.items():
        multiple, values = _best(every, name, kind)
        line: dict[str, Any] = {"kind": name, "multiple": multiple}
        line |= {"gain_db": float(np.mean(values)), "worst_db": min(values)}
        line |= {"cpu_s": float(np.mean([row[f"s {name}"] for row in every]))}
        for group, each in rows.items():
            line[f"{group}_multiple"], values = _best(each, name, kind)
            line |= {group: float(np.mean(values)), f"{group}_worst": min(values)}
        table.append({key: round(value, 4) if isinstance(value, float) else value for key, value in line.items()})
    return table


def _best(rows: Sequence[Mapping[str, Any]], name: str, kind: Kind) -> tuple[float, list[float]]:
    """The multiple with the largest mean gain, and the gain of each image."""
    gains = {multiple: [row[f"{name} x{multiple:g}"] - row["zero"] for row in rows] for multiple in kind.multiples}
    best = max(gains, key=lambda multiple: float(np.mean(gains[multiple])))
    return best, gains[best]

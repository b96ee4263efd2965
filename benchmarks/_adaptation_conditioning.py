"""The kernel's width moved by what adaptation itself minimises, against what the image's spectrum says.

A width that moves by the gradient of a loss ends where the loss is least, so all widths of a grid are tried and the
least loss taken. `loop` is the closed loop |D(SR) - LR|, `pairs` the loss on the self-pair that is made and enlarged
with the same kernel, `spectrum` is `kernel_width`, for which the width may be wrong by a quarter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from benchmarks import _adaptation, _exactness
from benchmarks._adaptation_classes import SCALE, Case
from srfoundry.degradation.kernel_width import move_width
from srfoundry.degradation.observation import Observation
from srfoundry.imaging import metrics
from srfoundry.zero_shot.recipe import Recipe
from srfoundry.zero_shot.restoration import restore
from srfoundry.zero_shot.self_pairs import SelfPairs

WIDTHS = (0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4)  # factors of the variances that are tried
GIVEN = {"true": 1.0, **_adaptation.QUARTER}


def conditioning(net: nn.Module, case: Case) -> dict[str, Any]:
    """For each given kernel: PSNR-Y with it, and with the width that each judge wants, and the factor that it wants."""
    found: dict[str, Any] = {}
    for kind, factor in GIVEN.items():
        tried = {width: _widened(case, factor * width) for width in WIDTHS}
        images = {width: restore(net, seen) for width, seen in tried.items()}
        loop = {width: float((seen.degrade(images[width]) - seen.low).abs().mean()) for width, seen in tried.items()}
        pairs = {width: _self_pair_loss(net, seen) for width, seen in tried.items()}
        moved = move_width(replace(tried[1.0], kernel_error=_adaptation.ERROR))
        for judge, losses in (("loop", loop), ("pairs", pairs)):
            best = min(losses, key=losses.__getitem__)
            found[f"{kind} {judge}"] = (metrics.psnr_y(images[best], case.high, SCALE), best)
        found[f"{kind} spectrum"] = (metrics.psnr_y(restore(net, moved.observation), case.high, SCALE), moved.factor)
        found[f"{kind} none"] = (metrics.psnr_y(images[1.0], case.high, SCALE), 1.0)
    return found


def summary(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, dict[str, float]]]:
    """For each given kernel and judge: the mean gain over the kernel as it was given, the worst, the mean factor."""
    every, table = [row for each in rows.values() for row in each], dict[str, dict[str, dict[str, float]]]()
    for kind in GIVEN:
        for judge in ("loop", "pairs", "spectrum"):
            gains = [row[f"{kind} {judge}"][0] - row[f"{kind} none"][0] for row in every]
            factor = float(np.exp(np.mean([np.log(row[f"{kind} {judge}"][1]) for row in every])))
            figures = {"gain_db": float(np.mean(gains)), "worst_db": min(gains), "factor": factor}
            table.setdefault(kind, {})[judge] = {key: round(value, 4) for key, value in figures.items()}
    return table


def _widened(case: Case, factor: float) -> Observation:
    blur = (factor * case.blur[0], factor * case.blur[1], case.blur[2], "direct")
    return replace(case.observation, kernel=_exactness.taps(blur).to(case.low))


def _self_pair_loss(net: nn.Module, observation: Observation) -> float:
    weights = {name: value.detach() for name, value in net.named_parameters()}
    return SelfPairs.of(net, observation, Recipe([])).loss(net, weights, slope=False).loss

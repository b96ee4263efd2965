"""Zero, one and ten steps of the program's own adaptation, under every kernel that it may be given."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import _adaptation, _exactness
from benchmarks._adaptation_classes import CLASSES, SCALE, Case
from srfoundry.core.seeds import generator
from srfoundry.degradation import operator
from srfoundry.degradation.kernel_width import move_width
from srfoundry.degradation.observation import Observation
from srfoundry.imaging import images, metrics
from srfoundry.zero_shot.adapted_restoration import adapt_and_restore
from srfoundry.zero_shot.recipe import Recipe
from srfoundry.zero_shot.restoration import restore

NOISE = 5 / 255
QUALITY = 80  # of JPEG
TILE = 512
Row = dict[str, float]


@dataclass(frozen=True)
class Gains:
    """Measures one case.

    Args:
        recipe: of the network's card.
        estimate: the kernel of a low-resolution image, by the project's method.
    """

    recipe: Recipe
    estimate: Callable[[Tensor, str], Tensor]

    def __call__(self, net: nn.Module, case: Case) -> Row:
        """PSNR-Y in dB by method: mzsrN_KIND are N steps; width_KIND is no step, with the kernel's width moved.

        Kinds: true, estimated; narrow and wide are wrong by a quarter, which is said, or not (unsaid-narrow); noise and
        jpeg with the true kernel. cpu_s are processor seconds of ten steps with the true kernel and the restoration.
        """
        steps, found = len(self.recipe.rates), Row()
        for kind, (observation, counts) in self.observations(case).items():
            for count in dict.fromkeys(counts):
                began = time.process_time()
                image = self.restored(net, observation, count)
                if (kind, count) == ("true", steps):
                    found["cpu_s"] = time.process_time() - began
                found[f"mzsr{count}_{kind}"] = metrics.psnr_y(image, case.high, SCALE)
            if observation.kernel_error:
                moved = move_width(observation).observation
                found[f"mzsrwidth_{kind}"] = metrics.psnr_y(restore(net, moved), case.high, SCALE)
                found[f"mzsr0_unsaid-{kind}"] = found[f"mzsr0_{kind}"]
        return found

    def observations(self, case: Case) -> dict[str, tuple[Observation, tuple[int, ...]]]:
        """What adaptation is given, by kind, and after how many steps it is measured."""
        steps, true = len(self.recipe.rates), case.observation
        found: dict[str, tuple[Observation, tuple[int, ...]]] = {"true": (true, (0, 1, steps))}
        estimated = self.estimate(case.low, case.name).to(case.low)
        found["estimated"] = (replace(true, kernel=estimated), (0, 1, steps))
        for kind, factor in _adaptation.QUARTER.items():
            blur = (factor * case.blur[0], factor * case.blur[1], case.blur[2], "direct")
            wrong = replace(true, kernel=_exactness.taps(blur).to(case.low))
            found[kind] = (replace(wrong, kernel_error=_adaptation.ERROR), (0, steps))
            found[f"unsaid-{kind}"] = (wrong, (steps,))
        rng = generator(0, "adaptation", "noise", case.name)
        noisy = operator.add_noise(case.low, NOISE, rng=rng).clamp(0, 1)
        noisy = images.from_uint8(images.to_uint8(noisy))
        found["noise"] = (replace(true, low=noisy, noise=NOISE), (0, steps))
        found["jpeg"] = (replace(true, low=operator.jpeg(case.low, QUALITY)), (0, steps))
        return found

    def restored(self, net: nn.Module, observation: Observation, count: int) -> Tensor:
        """As the program does it."""
        recipe, cpu = self.recipe.with_steps(count), torch.device("cpu")
        rng = generator(0, "adaptation", "steps")
        return adapt_and_restore(net, observation, recipe, tile=TILE, device=cpu, rng=rng)[0]


def summary(rows: Mapping[str, Sequence[Row]], steps: int) -> dict[str, Any]:
    """A row a group and method, and the figures of the test sets together; those of each class as GROUP.figure.

    Args:
        rows: what `Gains` found, by group.
        steps: of a whole adaptation.
    """
    table, figures = list[dict[str, Any]](), dict[str, Any]()
    for group, each in rows.items():
        scores = {method: [row[method] for row in each] for method in each[0]}
        seconds = scores.pop("cpu_s")
        gains = _adaptation.over_zero(scores)
        these = [
            {"set": group, "kernel": "random", "method": method, "psnr_y": round(float(np.mean(values)), 4)}
            | gains.get(method, {})
            for method, values in scores.items()
        ]
        table += these
        figures |= {f"{group}.images": len(each), f"{group}.cpu_s": round(float(np.mean(seconds)), 3)}
        figures |= {f"{group}.random.{row['method']}": row["psnr_y"] for row in these}
        figures |= {f"{group}.{name}": value for name, value in _adaptation.figures(these, steps).items()}
    sets = [row for row in table if row["set"] not in CLASSES]
    return {**figures, **_adaptation.figures(sets, steps), "gains": table}

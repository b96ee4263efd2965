"""The trainings behind `benchmarks.photographs`, and the degraded test images that they are scored on.

The runs are those of `_family` under random degradations, in float32. A run is scored on `mixed` (every test image
degraded in its own way, by the ranges of `degrade` in params.yaml, nothing clean) and on the classes that it is asked
for. All degraded images lie on the grid of MATLAB's bicubic, which is the baseline.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks._exactness import photographs
from benchmarks._family import Plan, Runs
from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels, operator
from srfoundry.degradation.random_degradation import degraded
from srfoundry.degradation.settings import RandomDegradation
from srfoundry.imaging import images, metrics, resize
from srfoundry.networks.zoo import cards

Degrade = Callable[[Tensor, torch.Generator], Tensor]
SEED = 7  # of the test images' degradations
BLURS = ("gauss05", "gauss10", "gauss20", "anisotropic", "line", "shake")
CLASSES = ("clean", *BLURS, "noise5", "noise15", "jpeg50", "jpeg75", "jpeg90", "photographs", "div2krk")
MIXED = "mixed"


def plan_of(scale: int, chosen: RandomDegradation) -> Plan:
    """What all runs of a scale share: the factory's DRN, and steps that two cores do in two hours."""
    common = {"network": "drn", "scale": scale, "blocks": 6, "tune_rate": 1.2e-3, "search_steps": 1000}
    # the pretrained net is far from done: what is distilled from it stays as bad (lab book)
    common |= {"degradation": chosen, "dual_map": "operator", "teacher_weight": 0.0}
    if scale == 2:
        draws = {"width": 16, "multiple": 8, "patch": 64, "batch": 8, "octave": 0.3}
        return Plan(**common, **draws, steps=3000, tune_steps=1500)
    draws = {"width": 8, "multiple": 4, "patch": 96, "batch": 6, "octave": 0.0}
    return Plan(**common, **draws, steps=3000, tune_steps=5000)


def classes(scale: int, chosen: RandomDegradation) -> dict[str, Degrade]:
    """Each class of test images: what is done to a photograph, in 8 bits at last.

    Args:
        scale: of the reduction.
        chosen: the ranges of `mixed` and `photographs`.
    """
    offset, size = (scale - 1) / 2, chosen.blur.size(scale)

    def gaussian(first: float, second: float, theta: float = 0.0) -> Tensor:
        """Variances in multiples of the scale, px^2."""
        values = (torch.tensor([value], dtype=torch.float64) for value in (first * scale, second * scale, theta))
        return kernels.gaussian(size, *values, offset=offset)

    def blurred(draw: Callable[[torch.Generator], Tensor]) -> Degrade:
        return lambda high, rng: bits(operator.degrade(high, draw(rng).to(high), scale))

    def drawn(family: Callable[..., kernels.Draw], taps: int) -> Degrade:
        return blurred(lambda rng: family(1, size=taps, scale=scale, rng=rng, offset=offset)[0])

    def reduced(high: Tensor) -> Tensor:
        return resize.cubic(high, 1 / scale)

    def noisy(high: Tensor, rng: torch.Generator, level: int) -> Tensor:
        low = reduced(high)
        return bits(low + level / 255 * torch.randn(low.shape, generator=rng).to(low))

    def random(high: Tensor, rng: torch.Generator, **values: Any) -> Tensor:
        return degraded(high.float(), scale, replace(chosen, clean=0.0, **values), rng=rng).low.double()

    twice = replace(chosen.rounds, once=0.0)
    found: dict[str, Degrade] = {"clean": lambda high, rng: bits(reduced(high))}
    found |= {f"gauss{10 * v:02.0f}": blurred(lambda rng, v=v: gaussian(v, v)) for v in (0.5, 1.0, 2.0)}
    found["anisotropic"] = blurred(lambda rng: gaussian(2.0, 0.4, 3.14159 * float(torch.rand(1, generator=rng))))
    found["line"], found["shake"] = drawn(kernels.draw_line, size), drawn(kernels.draw_trajectory, size)
    found |= {f"noise{level}": partial(noisy, level=level) for level in (5, 15)}
    found |= {f"jpeg{q}": lambda high, rng, q=q: images.jpeg(reduced(high), q) for q in (50, 75, 90)}
    found["photographs"] = partial(random, rounds=twice)
    found["div2krk"] = drawn(kernels.draw_noisy, size)
    found[MIXED] = random
    return found


def bits(low: Tensor) -> Tensor:
    """In 8 bits."""
    return images.from_uint8(images.to_uint8(low), torch.float64)


class PhotographRuns(Runs):
    """Runs under random degradations.

    Args:
        plan: of the trainings.
        data, tests, work, sets: as for `Runs`.
        ranges: of the test images.
    """

    precision = "float32"  # bfloat16 is the slower one for these nets here

    def __init__(
        self, plan: Plan, data: Path, tests: Path, work: Path, sets: Sequence[str], *, ranges: RandomDegradation
    ) -> None:
        super().__init__(plan, data, tests, work, sets, 1)
        self.ranges = ranges

    def psnr(self, net: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """The gain over MATLAB's bicubic in dB on `mixed`: of a run that has just ended."""
        return self.gains(net, [MIXED], self.sets)

    def gains(self, net: Callable[[Tensor], Tensor], names: Sequence[str], sets: Sequence[str]) -> dict[str, float]:
        """PSNR-Y over MATLAB's bicubic in dB on 8 bits, mean over the images of the sets, by class."""
        made = classes(self.scale, self.ranges)
        found = {name: list(self.by_image(net, made[name], name, sets)) for name in names}
        return {name: sum(values) / len(values) for name, values in found.items()}

    def by_image(
        self, net: Callable[[Tensor], Tensor], make: Degrade, name: str, sets: Sequence[str]
    ) -> Iterator[float]:
        """The gain on each test image."""
        for each in sets:
            for index, high in enumerate(photographs(self.tests / each, self.scale)):
                low = make(high, generator(SEED, name, each, index)).float()
                with torch.inference_mode():
                    restored, enlarged = net(low).double(), resize.cubic(low, self.scale).double()
                ours, theirs = (metrics.psnr_y(image, high, self.scale, whole=True) for image in (restored, enlarged))
                yield ours - theirs

    def by_class(self, name: str, title: str, names: Sequence[str], sets: Sequence[str]) -> dict[str, float]:
        """Gains of a finished run on classes, kept under a title."""

        def run() -> dict[str, Any]:
            net, _ = cards.load(self.work / f"{name}.safetensors")
            return self.gains(net.eval(), names, sets)

        return self.once(f"{name}.{title}", run)

"""What buys zero-shot quality? Recipes of MZSR's training at equal work, quality over compute.

python -m benchmarks.recipes --tflop 5 20     needs `dvc repro synthesize` before; draws docs/quality_over_compute.png

Every recipe starts from the same random weights and may spend the same floating-point operations (counted by PyTorch on
one step; a multiply-add is two). Plain training over kernels comes first; recipes with MAML spend its share at the end.
Scored on the validation photographs, mean over two blurs, with the true kernel, before adaptation and after ten steps;
and after ten steps with an assumed kernel, 0.2 px^2 of variance too wide or too narrow, the mean of both (`off`).
"""

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import table
from srfoundry.core import seeds
from srfoundry.core.compute import Compute
from srfoundry.core.state import Resumption
from srfoundry.degradation import kernels, linear_enlargement
from srfoundry.degradation.observation import Sampling
from srfoundry.imaging.patches import Patches
from srfoundry.networks.adaptive.mzsr import MZSR
from srfoundry.reporting import pictures
from srfoundry.zero_shot import kernel_tasks, maml, meta_training, plain_training
from srfoundry.zero_shot.recipe import Recipe as Adapting
from srfoundry.zero_shot.settings import (
    InnerLoop,
    NoiseDraw,
    Order,
    OuterDescent,
    PlainTraining,
    Support,
    TaskDegradations,
    TaskDraw,
)
from srfoundry.zero_shot.step_sizes import step_sizes
from srfoundry.zero_shot.validation import validate

CPU = torch.device("cpu")
COMPUTE = Compute(CPU, "auto")
SCALE, PATCH, BATCH = 2, 64, 8
RATE, STEPS = 0.02, 10
QUIET = NoiseDraw(noisy=0.0, noise=0.0)
OFF = 0.2  # px^2 that an assumed kernel is off by: 10 % of the blur gauss20


@dataclass(frozen=True)
class Recipe:
    """How the work is spent; `share` of it on MAML."""

    enlargement: linear_enlargement.How
    share: float = 0.0
    support: Support = "self_pair"
    order: Order = "second"
    learn_rates: bool = True
    mismatch: float = 0.0
    inner: int = 3  # steps of MAML's tasks
    tasks: int = 4
    patch: int = 96  # of tasks on self-pairs


RECIPES = {
    "bicubic input": Recipe("bicubic"),
    "bicubic input, MAML on patches": Recipe("bicubic", 0.25, "patches", learn_rates=False),
    "linear input": Recipe("linear"),
    "linear input, MAML on patches": Recipe("linear", 0.25, "patches"),
    "linear input, MAML on self-pairs": Recipe("linear", 0.25),
    "the same, first order": Recipe("linear", 0.25, order="first"),
    "the same, fixed step sizes": Recipe("linear", 0.25, learn_rates=False),
    "the same, one inner step": Recipe("linear", 0.25, inner=1),
    "the same, patches of 48": Recipe("linear", 0.25, patch=48),
    "the same, twelve tasks": Recipe("linear", 0.25, tasks=12),
    "linear input, kernels off by 0.3 px^2": Recipe("linear", mismatch=0.3),
}


def train(name: str, data: Path, budget: float, folder: Path) -> tuple[MZSR, Any]:
    """Spend `budget` operations; returns the net and its step sizes. Recipes that begin alike share their beginning."""
    recipe = RECIPES[name]
    patches, bank = Patches.open(data / "train"), torch.from_numpy(np.load(data / "kernels" / "bank.npy"))
    rng = seeds.generator(1, "recipes")
    degradations = TaskDegradations(
        enlargement=recipe.enlargement, decimation="direct", scales=[], mismatch=recipe.mismatch
    )
    groups = kernel_tasks.kernel_groups(bank, degradations, scale=SCALE, rng=rng)
    net = MZSR(enlargement=recipe.enlargement)
    seeds.redraw(net, seeds.generator(1, "net"))
    plain = PlainTraining(patch=PATCH, batch=BATCH, steps=0, learning_rate=1e-3)
    pairs = partial(kernel_tasks.blurred_pairs, patches, groups, plain, noise=QUIET, device=CPU)
    enlarged, high = pairs(rng=rng)
    with FlopCounterMode(display=False) as counter:
        net(enlarged).sub(high).abs().mean().backward()
    plain = replace(plain, steps=round(budget * (1 - recipe.share) / counter.get_total_flops()))
    path = folder / f"plain-{recipe.enlargement}-{recipe.mismatch}-{plain.steps}"
    plain_training.train(
        net,
        pairs,
        plain,
        schedule="cosine",
        compute=COMPUTE,
        stream=seeds.Stream(1, "plain"),
        resumption=Resumption(path, "k"),
    )
    factors = torch.ones(len(list(net.parameters())))
    if recipe.share:
        shots, patch = (1, recipe.patch) if recipe.support == "self_pair" else (4, 48)
        tasks = TaskDraw(tasks=recipe.tasks, shots=shots, patch=patch, support=recipe.support)
        draw = partial(kernel_tasks.draw_tasks, patches, groups, tasks, noise=QUIET, device=CPU)
        sizes, last = RATE * factors.expand(recipe.inner, -1), meta_training.step_weights(recipe.inner, 0, how="last")
        with FlopCounterMode(display=False) as counter:
            maml.gradient(net, draw(rng=rng), rates=sizes, step_weights=last, order=recipe.order)
        steps = round(budget * recipe.share / counter.get_total_flops())
        _, factors = meta_training.metatrain(
            net,
            draw,
            InnerLoop(
                steps=recipe.inner, rate=RATE, order=recipe.order, loss_weights="last", learn_rates=recipe.learn_rates
            ),
            OuterDescent(steps=steps, learning_rate=3e-4, schedule="cosine", clip=0.5),
            compute=COMPUTE,
            stream=seeds.Stream(1, "metatrain"),
            resumption=Resumption(folder / f"meta-{name}-{budget:g}", "k"),
        )
    return net, step_sizes([RATE] * STEPS, factors)


def score(net: MZSR, rates: Any, data: Path) -> dict[str, float]:
    """PSNR-Y in dB on the validation photographs before and after adaptation, and after it with a wrong kernel."""
    patches = Patches.open(data / "validation")
    blur = {
        name: torch.from_numpy(np.load(data / "kernels" / f"{name}.npy"))[None].float() for name in ("gauss20", "aniso")
    }
    wide = wider(blur["gauss20"])

    def mean(pairs: Sequence[tuple[torch.Tensor, torch.Tensor]], taken: Any) -> float:
        scores = [
            validate(
                net, patches, Sampling(SCALE), compute=COMPUTE, kernel=true, assumed=assumed, recipe=Adapting(taken)
            )["psnr_y"]
            for true, assumed in pairs
        ]
        return round(float(np.mean(scores)), 3)

    known = [(kernel, kernel) for kernel in blur.values()]
    wrong = [(blur["gauss20"], wide), (wide, blur["gauss20"])]
    return {"steps_0": mean(known, []), f"steps_{STEPS}": mean(known, rates), f"steps_{STEPS}_off": mean(wrong, rates)}


def wider(kernel: torch.Tensor) -> torch.Tensor:
    """The blur gauss20, of a variance greater by OFF."""
    variance = torch.tensor([2.0 + OFF], dtype=torch.float64)
    return kernels.gaussian(kernel.shape[-1], variance, variance, torch.zeros(1, dtype=torch.float64)).float()


def main() -> None:
    """Train every recipe at every budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/synthesize"), help="default: %(default)s")
    parser.add_argument("--tflop", type=float, nargs="+", default=[5.0, 20.0], help="budgets, 10^12 operations")
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES), metavar="NAME")
    parser.add_argument("--picture", type=Path, default=Path("docs/quality_over_compute.png"))
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        for name, budget in itertools.product(options.recipes, sorted(options.tflop)):
            net, rates = train(name, options.data, budget * 1e12, Path(folder))
            rows.append({"recipe": name, "tflop": budget, **score(net, rates, options.data)})
    lines = {
        name: [(row["tflop"], row[f"steps_{STEPS}"]) for row in rows if row["recipe"] == name]
        for name in options.recipes
    }
    pictures.lines(options.picture, lines, "training, 10^12 operations", "PSNR-Y after ten steps, dB")
    table.report("recipes", rows, threads=options.threads)


if __name__ == "__main__":
    table.run(main)

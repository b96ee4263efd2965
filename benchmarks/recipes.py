"""What buys zero-shot quality? Recipes of MZSR's training at equal work, quality over compute.

python -m benchmarks.recipes --tflop 5 20     needs `dvc repro synthesize` before; draws docs/quality_over_compute.png

Every recipe starts from the same random weights and may spend the same floating-point operations (counted by PyTorch on
one step; a multiply-add is two). Plain training over kernels comes first; recipes with MAML spend its share at the end.
Scored on the validation photographs, mean over two blurs, the true kernel told, before adaptation and after ten steps.
"""

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import table
from srfoundry import blurs, enlarge, maml, meta, report, seeds, validation
from srfoundry.dataset import Patches
from srfoundry.networks.mzsr import MZSR

CPU = torch.device("cpu")
SCALE, PATCH, BATCH = 2, 64, 8
INNER, RATE, STEPS = 3, 0.02, 10


@dataclass(frozen=True)
class Recipe:
    """How the work is spent; `share` of it on MAML."""

    enlargement: enlarge.How
    share: float = 0.0
    support: meta.Support = "son"
    order: maml.Order = "second"
    learn_rates: bool = True
    mismatch: float = 0.0


RECIPES = {
    "bicubic input": Recipe("bicubic"),
    "bicubic input, MAML on patches": Recipe("bicubic", 0.25, "patches", learn_rates=False),
    "linear input": Recipe("linear"),
    "linear input, MAML on patches": Recipe("linear", 0.25, "patches"),
    "linear input, MAML on sons": Recipe("linear", 0.25),
    "the same, first order": Recipe("linear", 0.25, order="first"),
    "the same, fixed step sizes": Recipe("linear", 0.25, learn_rates=False),
    "linear input, kernels off by 0.3 px^2": Recipe("linear", mismatch=0.3),
}


def train(recipe: Recipe, data: Path, budget: float, folder: Path) -> tuple[MZSR, Any]:
    """Spend `budget` operations; returns the net and its step sizes."""
    patches, bank = Patches.open(data / "train"), torch.from_numpy(np.load(data / "kernels" / "bank.npy"))
    rng = seeds.generator(1, "recipes")
    ways: dict[str, Any] = {"scales": [SCALE], "decimations": ["direct"]}
    groups = blurs.make(bank, enlargement=recipe.enlargement, mismatch=recipe.mismatch, rng=rng, **ways)
    net = MZSR(enlargement=recipe.enlargement)
    seeds.redraw(net, seeds.generator(1, "net"))
    common: dict[str, Any] = {"seed": 1, "device": CPU, "precision": "auto", "key": "k", "log": lambda step, row: None}
    pairs = partial(meta.blurred_pairs, patches, groups, patch=PATCH, batch=BATCH, device=CPU)
    enlarged, high = pairs(rng=rng)
    with FlopCounterMode(display=False) as counter:
        net(enlarged).sub(high).abs().mean().backward()
    steps = round(budget * (1 - recipe.share) / counter.get_total_flops())
    meta.train(
        net,
        pairs,
        steps=steps,
        learning_rate=1e-3,
        schedule="cosine",
        title="plain",
        checkpoint=folder / "plain",
        **common,
    )
    factors = torch.ones(len(list(net.parameters())))
    if recipe.share:
        draw = partial(meta.draw_tasks, patches, groups, support=recipe.support, tasks=4, device=CPU)
        draw = partial(draw, **({"shots": 1, "patch": 96} if recipe.support == "son" else {"shots": 4, "patch": 48}))
        sizes, last = RATE * factors.expand(INNER, -1), meta.step_weights(INNER, 0, how="last")
        with FlopCounterMode(display=False) as counter:
            maml.gradient(net, draw(rng=rng), rates=sizes, step_weights=last, order=recipe.order)
        steps = round(budget * recipe.share / counter.get_total_flops())
        _, factors = meta.metatrain(
            net, draw, inner_steps=INNER, inner_rate=RATE, learn_rates=recipe.learn_rates, steps=steps,
            learning_rate=3e-4, schedule="cosine", clip=0.5, order=recipe.order, loss_weights="last",
            checkpoint=folder / "meta", **common,
        )  # fmt: skip
    return net, meta.step_sizes([RATE] * STEPS, factors)


def score(net: MZSR, rates: Any, data: Path) -> dict[str, float]:
    """PSNR-Y in dB on the validation photographs before and after adaptation, mean over the blurs."""
    patches, found = Patches.open(data / "validation"), {}
    for name, taken in (("steps_0", []), (f"steps_{STEPS}", rates)):
        scores = []
        for blur in ("gauss20", "aniso"):
            kernel = torch.from_numpy(np.load(data / "kernels" / f"{blur}.npy"))[None]
            scores.append(validation.validate(net, patches, SCALE, device=CPU, kernel=kernel, rates=taken)["psnr_y"])
        found[name] = round(float(np.mean(scores)), 3)
    return found


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
    for name in options.recipes:
        for budget in sorted(options.tflop):
            with TemporaryDirectory() as folder:
                net, rates = train(RECIPES[name], options.data, budget * 1e12, Path(folder))
            rows.append({"recipe": name, "tflop": budget, **score(net, rates, options.data)})
    lines = {
        name: [(row["tflop"], row[f"steps_{STEPS}"]) for row in rows if row["recipe"] == name]
        for name in options.recipes
    }
    report.lines(options.picture, lines, "training, 10^12 operations", "PSNR-Y after ten steps, dB")
    table.report("recipes", rows, threads=options.threads)


if __name__ == "__main__":
    table.run(main)

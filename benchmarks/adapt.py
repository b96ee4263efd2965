"""What is zero-shot adaptation worth, x2, by class of photograph, and what does it cost?

python -m benchmarks.adapt gains        zero, one and ten steps under every kernel, by class and on the test sets
python -m benchmarks.adapt ceiling      hundreds of steps by class: what internal learning can give at all
python -m benchmarks.adapt nothing      the same from random weights (ZSSR)
python -m benchmarks.adapt variants     ten steps of other kinds at equal work, by class
python -m benchmarks.adapt kernels      the kernel's width moved by adaptation's own losses, and by the spectrum
python -m benchmarks.adapt time         seconds of ten steps and the restoration

All need `make repro` before. Classes are of photographs that the default pipeline never sees (--photographs), told
apart by a rule (`_adaptation_classes`); every photograph has a random Gaussian of its own, of --seed. A part keeps
what is done in --work and goes on from there; empty it when what is measured has changed. The results of all parts
stand in results/adapt.json.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import (
    _adaptation_ceiling,
    _adaptation_conditioning,
    _adaptation_gains,
    _adaptation_time,
    _adaptation_variants,
    table,
)
from benchmarks._adaptation_classes import SIDE, Case, classes, tests
from benchmarks._adaptation_replay import Replay
from srfoundry.config import params
from srfoundry.core.compute import channels_last
from srfoundry.core.progress import track
from srfoundry.core.state import kept
from srfoundry.networks.zoo import cards
from srfoundry.restoration.kernel_estimation import KernelEstimation
from srfoundry.zero_shot.recipe import Recipe

CPU = torch.device("cpu")
LEARNING = 4  # photographs a class that step sizes are learned on, none of them measured


class Trial:
    """A part of the benchmark: its network, its cases, and what is done of it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        path = options.models / "metatrain.safetensors"
        self.net = channels_last(cards.load(path)[0].eval(), CPU)
        self.recipe = Recipe.from_card(cards.read_card(path).metrics)
        self.key = f"{sha256(path.read_bytes()).hexdigest()} {options.seed} {options.side}"

    def cases(self, count: int) -> Iterator[Case]:
        """So many of each class."""
        return classes(self.options.photographs, count, self.options.seed)

    def measured(
        self, measure: Callable[[nn.Module, Case], dict[str, Any]], cases: Iterable[Case]
    ) -> dict[str, list[dict[str, Any]]]:
        """What a part finds of each case, by group; what is done already is read."""
        found: dict[str, list[dict[str, Any]]] = {}
        for case in track(turns(cases), self.options.part):
            path = self.options.work / self.options.part / f"{case.group}_{case.name}.pt"
            row = kept(path, self.key, partial(measure, self.net, case))
            found.setdefault(case.group, []).append(row)
        return found


def turns(cases: Iterable[Case]) -> list[Case]:
    """One case of each group, then the next of each, so that a run that is cut short has seen all groups."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.group, []).append(case)
    longest = max(map(len, groups.values()), default=0)
    return [each[index] for index in range(longest) for each in groups.values() if index < len(each)]


def gains(options: argparse.Namespace) -> dict[str, Any]:
    """Zero, one and ten steps."""
    trial = Trial(options)
    ready = KernelEstimation.load(
        params.load(options.params), _adaptation_time.SCALE, device=CPU, models=options.models
    )

    def estimate(low: Tensor, name: str) -> Tensor:
        return ready.estimate_kernel(low, name)

    by_class = trial.cases(options.images) if options.images else ()
    of_sets = tests(options.tests, options.sets, options.most, options.seed, options.side)
    rows = trial.measured(_adaptation_gains.Gains(trial.recipe, estimate), chain(by_class, of_sets))
    return _adaptation_gains.summary(rows, len(trial.recipe.rates))


def ceiling(options: argparse.Namespace) -> dict[str, Any]:
    """Hundreds of steps."""
    trial = Trial(options)
    rows = trial.measured(_adaptation_ceiling.ceiling, trial.cases(options.images))
    return {"ceiling": _adaptation_ceiling.summary(rows)}


def nothing(options: argparse.Namespace) -> dict[str, Any]:
    """ZSSR's course from random weights."""
    trial = Trial(options)
    rows = trial.measured(_adaptation_ceiling.from_nothing, trial.cases(options.images))
    return {"nothing": _adaptation_ceiling.summary_from_nothing(rows)}


def variants(options: argparse.Namespace) -> dict[str, Any]:
    """Other kinds of ten steps."""
    trial, groups = Trial(options), dict[str, list[Case]]()
    trial.key += f" {options.images}"  # step sizes are learned on the photographs behind them
    for case in trial.cases(options.images + LEARNING):
        groups.setdefault(case.group, []).append(case)
    learning = [case for each in groups.values() for case in each[options.images :]]
    factors = kept(
        options.work / "factors.pt",
        trial.key,
        lambda: {"factors": _adaptation_variants.learned_factors(trial.net, learning, trial.recipe)},
    )["factors"]
    replay = Replay.of(options.training)
    measure = partial(_adaptation_variants.variants, recipe=trial.recipe, replay=replay, factors=factors)
    rows = trial.measured(measure, (case for each in groups.values() for case in each[: options.images]))
    return {"variants": _adaptation_variants.summary(rows), "factors": [round(one, 3) for one in factors]}


def kernels(options: argparse.Namespace) -> dict[str, Any]:
    """The conditioning moves."""
    trial = Trial(options)
    rows = trial.measured(_adaptation_conditioning.conditioning, trial.cases(options.images))
    return {"kernels": _adaptation_conditioning.summary(rows)}


def seconds(options: argparse.Namespace) -> dict[str, Any]:
    """What it costs."""
    return {"time": _adaptation_time.rows(options.models / "metatrain.safetensors", options.threads)}


PARTS = {
    "gains": gains,
    "ceiling": ceiling,
    "nothing": nothing,
    "variants": variants,
    "kernels": kernels,
    "time": seconds,
}


def main() -> None:
    """Measure one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("part", choices=list(PARTS))
    add("--images", type=int, default=4, help="of each class (default: %(default)s)")
    add("--photographs", type=Path, default=Path("../shared/data/train"), help="of the classes (default: %(default)s)")
    add("--tests", type=Path, default=Path("../shared/data/test"), help="with the test sets (default: %(default)s)")
    add("--sets", nargs="*", default=["Set5", "Set14", "BSD100"], help="of them (default: Set5 Set14 BSD100)")
    add("--most", type=int, default=100, help="photographs of a test set, at most (default: %(default)s)")
    add("--side", type=int, default=SIDE, help="pixels of a test photograph's middle (default: %(default)s)")
    add("--models", type=Path, default=Path("models"), help="folder of the pipeline's networks")
    add("--params", type=Path, default=Path("params.yaml"), help="for estimated kernels")
    add("--training", type=Path, default=Path("data/synthesize/train"), help="prepared photographs to replay")
    add("--seed", type=int, default=1, help="of photographs and kernels (default: %(default)s)")
    add("--threads", type=int, nargs="+", default=[1, 2], help="CPU threads of `time` (default: 1 2)")
    add("--work", type=Path, default=Path("runs/adapt"), help="where parts keep what is done")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table.merge("adapt", options.part, PARTS[options.part](options), threads=1)


if __name__ == "__main__":
    table.run(main)

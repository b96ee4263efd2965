"""One trained net, many smaller ones: the runs that `benchmarks.drc` compares. Each is kept on disk when it is done.

All methods share the pretrained net, the budget, the fine-tuning (steps, rates, batches, distillation from that net)
and the scoring. DRC goes on from the weights that its search trained, so it has had that many steps more; `longer`
gives them to a baseline, too. `greedy` is the paper's way: the searched widths, channels of the pretrained net selected
one after another; `drc_softmax` searches with a logit for each width and ranks channels by their weights, as the paper
does. The uncompressed net is tuned, without a teacher, for as long as search and fine-tuning together.
"""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks._runs import CPU, StoredRuns
from srfoundry.compression.baselines import Baseline, choose_channels
from srfoundry.compression.drc import search_widths
from srfoundry.compression.recipe import budget_of, select_and_cut, tune
from srfoundry.compression.settings import (
    BudgetTarget,
    GreedySelection,
    SearchDescent,
    Searching,
    Tuning,
    TuningWeights,
    WidthModel,
)
from srfoundry.core.compute import channels_last
from srfoundry.core.seeds import Stream, generator, redraw
from srfoundry.degradation.settings import RandomDegradation
from srfoundry.dual_regression.settings import LossWeights
from srfoundry.networks.sr.kernel_dual import KernelDual
from srfoundry.networks.sr.prunable import thin, widths_of
from srfoundry.networks.zoo import cards
from srfoundry.networks.zoo.architectures import ARCHITECTURES, build
from srfoundry.training.settings import Descent, PatchDraw

TOLERANCE = 0.01
VERSION = 2  # of the code behind the runs; raise it when runs on disk would come out otherwise
WEIGHTS = LossWeights(dual_weight=0.1, estimate_weight=0.02)
BASELINES: tuple[Baseline, ...] = ("uniform", "random", "torch_pruning")


@dataclass(frozen=True)
class Plan:
    """What all runs share. `network` is drn, edsr or swinir; a swinir's `blocks` are groups of four blocks."""

    network: str
    scale: int
    blocks: int
    width: int
    multiple: int
    steps: int  # of pretraining
    search_steps: int
    tune_steps: int
    batch: int = 16
    patch: int = 48
    octave: float = 0.3
    rate: float = 2e-3
    search_rate: float = 6e-4
    tune_rate: float = 6e-4
    select_batches: int = 4
    select_batch: int = 8
    per_round: int = 2
    degradation: RandomDegradation | None = None  # of the pairs; None is MATLAB's bicubic
    dual_map: Literal["learned", "operator"] = "learned"
    teacher_weight: float = 255.0

    @property
    def about(self) -> dict[str, Any]:
        """What runs on disk are known by; values that were not there when others were made are left out."""
        later = {"degradation": None, "dual_map": "learned", "teacher_weight": 255.0}
        return {name: value for name, value in asdict(self).items() if name not in later or value != later[name]}

    @property
    def arch(self) -> dict[str, Any]:
        """As in a card."""
        if self.network == "swinir":
            depths = [4] * self.blocks
            return {"name": "swinir", "scale": self.scale, "width": self.width, "depths": depths, "heads": 4}
        return {"name": self.network, "scale": self.scale, "blocks": self.blocks, "width": self.width}

    @property
    def dual_arch(self) -> dict[str, Any]:
        """Of its dual nets, likewise."""
        if self.dual_map == "operator":
            return {"name": "kernel_dual", "scale": self.scale, "size": 1, "decimation": "bicubic"}
        return {"name": ARCHITECTURES[self.network].dual, "scale": self.scale, "width": 16}

    def target(self, remove: float) -> BudgetTarget:
        """What must be saved: parameters."""
        return BudgetTarget(measure="parameters", remove=remove, tolerance=TOLERANCE, multiple=self.multiple)

    def searching(self, as_published: bool) -> Searching:
        """DRC's search, ours or with the paper's softmax and ranking; a step sees a batch in two halves."""
        model = WidthModel(
            order="first",
            relaxation="softmax" if as_published else "threshold",
            importance="weight" if as_published else "activation",
        )
        descent = SearchDescent(
            steps=self.search_steps,
            learning_rate=self.search_rate,
            width_rate=15 / self.search_steps,
            temperature=0.1,
            clip=1.0,
        )
        draws = PatchDraw(patch=self.patch, octave=self.octave, batch=self.batch // 2)
        return Searching(model=model, descent=descent, weights=WEIGHTS, draws=draws, degradation=self.degradation)

    def tuning(self, steps: int | None = None) -> Tuning:
        """Fine-tuning, by default of `tune_steps`, and the selection before it."""
        selection = GreedySelection(
            per_round=self.per_round,
            select_batches=self.select_batches,
            select_batch=self.select_batch,
            select_rate=1e-2,
            feature_weight=255.0,
        )
        steps = self.tune_steps if steps is None else steps
        return Tuning(
            selection=selection,
            weights=TuningWeights(**asdict(WEIGHTS), teacher_weight=self.teacher_weight),
            draws=PatchDraw(patch=self.patch, octave=self.octave, batch=self.batch),
            descent=Descent(steps=steps, learning_rate=self.tune_rate, warmup=30, average=0.99, clip=1.0),
            degradation=self.degradation,
        )

    def base(self, dual_weight: float) -> Tuning:
        """Pretraining: as fine-tuning but for its length and rates."""
        tuning = self.tuning(self.steps)
        return replace(
            tuning,
            weights=replace(tuning.weights, dual_weight=dual_weight, teacher_weight=0.0),
            descent=replace(tuning.descent, learning_rate=self.rate),
        )

    def nets(self, seed: int) -> tuple[Any, Any]:
        """The untrained primal net, near bicubic, and its dual nets."""
        record = ARCHITECTURES[self.network]
        net: Any = build(self.arch)
        duals = build(self.dual_arch)
        redraw(net, generator(seed, "net"))
        redraw(duals, generator(seed, "duals"))
        record.start_at_bicubic(net)
        return channels_last(net, CPU), duals


class Runs(StoredRuns):
    """The runs of one plan in a folder; `seed` is of weights, batches and choices."""

    def __init__(self, plan: Plan, data: Path, tests: Path, work: Path, sets: Sequence[str], threads: int) -> None:
        super().__init__([VERSION, plan.about], data=data, tests=tests, work=work, sets=sets, scale=plan.scale)
        self.plan = plan
        torch.set_num_threads(threads)

    def pretrained(self, seed: int, weight: float) -> tuple[Any, Any]:
        """The net trained with or without its dual nets (weight 0)."""
        net, duals = self.plan.nets(seed)
        name = f"base-{seed}-{weight:g}"
        self.once(name, lambda: self._train(name, net, duals, None, self.plan.base(weight), Stream(seed, "base")))
        primal, _ = cards.load(self.work / f"{name}.safetensors")
        mapping, _ = cards.load(self.work / f"{name}.duals.safetensors")
        return channels_last(primal, CPU), mapping

    def tied(self, seed: int) -> None:
        """The net trained with the true reduction as its dual map, which learns nothing (KernelDual)."""
        net, _ = self.plan.nets(seed)
        duals = KernelDual.of(torch.ones(1, 1, 1), scale=self.plan.scale, decimation="bicubic")
        name = f"tied-{seed}"
        self.once(name, lambda: self._train(name, net, duals, None, self.plan.base(0.1), Stream(seed, "base")))

    def dense(self, seed: int) -> None:
        """The uncompressed net, tuned for as long as DRC takes in all."""

        def run() -> dict[str, Any]:
            net, duals = self.pretrained(seed, 0.1)
            steps = self.plan.tune_steps + self.plan.search_steps  # a search step passes two half batches
            return self._train(name, net, duals, None, self.plan.tuning(steps), Stream(seed, "tune"))

        name = f"dense-{seed}"
        self.once(name, run)

    def baseline(self, seed: int, method: Baseline, remove: float, longer: bool = False) -> None:
        """A net cut by a baseline and tuned; `longer` for the steps of DRC's search as well."""
        name = f"{method}{'_longer' if longer else ''}-{round(100 * remove)}-{seed}"
        steps = self.plan.tune_steps + (self.plan.search_steps if longer else 0)

        def run() -> dict[str, Any]:
            net, duals = self.pretrained(seed, 0.1)
            target = self.plan.target(remove)
            budget = budget_of(net, target, self.conditions(name, Stream(seed, method)))
            kept = choose_channels(method, net, budget, target, rng=generator(seed, method))
            small = thin(net, net.units(), kept)
            return self._train(name, small, duals, net, self.plan.tuning(steps), Stream(seed, "tune"))

        self.once(name, run)

    def drc(self, seed: int, remove: float, as_published: bool = False) -> None:
        """DRC: searched widths, the channels that the search came to rely on, tuned."""
        name = f"{'drc_softmax' if as_published else 'drc'}-{round(100 * remove)}-{seed}"

        def run() -> dict[str, Any]:
            dense, duals = self.pretrained(seed, 0.1)
            on = self.conditions(f"{name}.search", Stream(seed, "search"))
            searching = self.plan.searching(as_published)
            found = search_widths(copy.deepcopy(dense), duals, self.plan.target(remove), searching, on)
            tuning = self.plan.tuning(self.plan.tune_steps)
            scores = self._train(name, found.net, duals, dense, tuning, Stream(seed, "tune"))
            return {**scores, "widths": found.widths, "removed": found.scores["removed_fraction"]}

        self.once(name, run)

    def greedy(self, seed: int, remove: float) -> None:
        """The widths of `drc`, which must be done, with channels selected in the pretrained net, tuned."""
        name = f"greedy-{round(100 * remove)}-{seed}"

        def run() -> dict[str, Any]:
            dense, duals = self.pretrained(seed, 0.1)
            widths, tuning = self.scores(f"drc-{round(100 * remove)}-{seed}")["widths"], self.plan.tuning()
            on = self.conditions(f"{name}.select", Stream(seed, "select"))
            small, _ = select_and_cut(dense, duals, widths, tuning, on)
            return self._train(name, small, duals, dense, tuning, Stream(seed, "tune"))

        self.once(name, run)

    def _train(self, name: str, net: Any, duals: Any, teacher: Any, how: Tuning, stream: Stream) -> dict[str, Any]:
        plan, on = self.plan, self.conditions(name, stream)
        tune(net, duals, how, on, teacher=teacher)
        arch = {**plan.arch, "inner": widths_of(net, net.units())}
        common: dict[str, Any] = {"scale": plan.scale, "made_by": "benchmark", "params_hash": ""}
        cards.save(self.work / f"{name}.safetensors", net, arch=arch, **common)
        if not isinstance(duals, KernelDual) or plan.dual_map == "operator":
            cards.save(self.work / f"{name}.duals.safetensors", duals, arch=plan.dual_arch, **common)
        self.forget(name)
        parameters = sum(weight.numel() for weight in net.parameters())
        return {"parameters": parameters, "steps": how.descent.steps, **self.psnr(net.eval())}

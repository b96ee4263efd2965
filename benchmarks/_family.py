"""One trained net, many smaller ones: the runs that `benchmarks.drc` compares. Each is kept on disk when it is done.

All methods share the pretrained net, the budget, the fine-tuning (steps, rates, batches, distillation from that net)
and the scoring. DRC goes on from the weights that its search trained, so it has had that many steps more; `longer`
gives them to a baseline, too. `greedy` is the paper's way: the searched widths, channels of the pretrained net selected
one after another; `drc_softmax` searches with a logit for each width and ranks channels by their weights, as the paper
does. The uncompressed net is tuned, without a teacher, for as long as search and fine-tuning together.
"""

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import md5
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from benchmarks import _exactness
from srfoundry.compression.baselines import Method, choose_channels
from srfoundry.compression.budget import Budget, ladders_of
from srfoundry.compression.importance import Importance
from srfoundry.compression.relaxation import Relaxation
from srfoundry.compression.search import search
from srfoundry.compression.selection import select
from srfoundry.core.atomic import write_bytes
from srfoundry.core.compute import Compute, channels_last
from srfoundry.core.seeds import Stream, generator, redraw
from srfoundry.core.state import Resumption
from srfoundry.dual_regression.batches import Batches, draw
from srfoundry.dual_regression.loss import loss_of
from srfoundry.dual_regression.training import train
from srfoundry.imaging import metrics
from srfoundry.imaging.patches import Patches
from srfoundry.networks.sr.kernel_dual import KernelDual
from srfoundry.networks.sr.prunable import thin, widths_of
from srfoundry.networks.zoo import cards
from srfoundry.networks.zoo.architectures import ARCHITECTURES, build
from srfoundry.training.settings import Descent, PatchDraw

CPU = torch.device("cpu")
TOLERANCE = 0.01
VERSION = 1  # of the code behind the runs; raise it when runs on disk would come out otherwise
Phase = Literal["base", "tune"]  # of a training; its seeds depend on the word
BASELINES: tuple[Method, ...] = ("uniform", "random", "torch_pruning")


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
        return {"name": ARCHITECTURES[self.network].dual, "scale": self.scale, "width": 16}

    def nets(self, seed: int) -> tuple[Any, Any]:
        """The untrained primal net, near bicubic, and its dual nets."""
        record = ARCHITECTURES[self.network]
        net: Any = build(self.arch)
        duals = build(self.dual_arch)
        redraw(net, generator(seed, "net"))
        redraw(duals, generator(seed, "duals"))
        record.start_at_bicubic(net)
        return channels_last(net, CPU), duals


class Runs:
    """The runs of one plan in a folder; `seed` is of weights, batches and choices."""

    def __init__(self, plan: Plan, data: Path, tests: Path, work: Path, sets: Sequence[str], threads: int) -> None:
        self.plan, self.tests, self.work, self.sets = plan, tests, work, sets
        self.patches = Patches.open(data / "train")
        index = md5((data / "train" / "index.json").read_bytes(), usedforsecurity=False).hexdigest()
        self.key = json.dumps([VERSION, asdict(plan), index, list(sets)])
        torch.set_num_threads(threads)

    def pretrained(self, seed: int, weight: float) -> tuple[Any, Any]:
        """The net trained with or without its dual nets (weight 0)."""
        net, duals = self.plan.nets(seed)
        name = f"base-{seed}-{weight:g}"
        self._once(name, lambda: self._train(name, net, duals, None, self.plan.steps, seed, weight, "base"))
        primal, _ = cards.load(self.work / f"{name}.safetensors")
        mapping, _ = cards.load(self.work / f"{name}.duals.safetensors")
        return channels_last(primal, CPU), mapping

    def tied(self, seed: int) -> None:
        """The net trained with the true reduction as its dual map, which learns nothing (KernelDual)."""
        net, _ = self.plan.nets(seed)
        duals = KernelDual.of(torch.ones(1, 1, 1), scale=self.plan.scale, decimation="bicubic")
        name = f"tied-{seed}"
        self._once(name, lambda: self._train(name, net, duals, None, self.plan.steps, seed, 0.1, "base"))

    def dense(self, seed: int) -> None:
        """The uncompressed net, tuned for as long as DRC takes in all."""

        def run() -> dict[str, Any]:
            net, duals = self.pretrained(seed, 0.1)
            steps = self.plan.tune_steps + self.plan.search_steps  # a search step passes two half batches
            return self._train(name, net, duals, None, steps, seed, 0.1, "tune")

        name = f"dense-{seed}"
        self._once(name, run)

    def baseline(self, seed: int, method: Method, remove: float, longer: bool = False) -> None:
        """A net cut by a baseline and tuned; `longer` for the steps of DRC's search as well."""
        name = f"{method}{'_longer' if longer else ''}-{round(100 * remove)}-{seed}"
        steps = self.plan.tune_steps + (self.plan.search_steps if longer else 0)

        def run() -> dict[str, Any]:
            net, duals = self.pretrained(seed, 0.1)
            units = net.units()
            budget = Budget.parameters(net, units, ladders_of(net, units, self.plan.multiple))
            rng = generator(seed, method)
            kept = choose_channels(method, net, units, budget=budget, remove=remove, tolerance=TOLERANCE, rng=rng)
            small = thin(net, units, kept)
            return self._train(name, small, duals, net, steps, seed, 0.1, "tune")

        self._once(name, run)

    def drc(self, seed: int, remove: float, as_published: bool = False) -> None:
        """DRC: searched widths, the channels that the search came to rely on, tuned."""
        name, plan = f"{'drc_softmax' if as_published else 'drc'}-{round(100 * remove)}-{seed}", self.plan
        relaxation: Relaxation = "softmax" if as_published else "threshold"
        importance: Importance = "weight" if as_published else "activation"

        def run() -> dict[str, Any]:
            dense, duals = self.pretrained(seed, 0.1)
            net, units = copy.deepcopy(dense), dense.units()
            budget = Budget.parameters(net, units, ladders_of(net, units, plan.multiple))
            names = self.patches.photographs()

            def half(which: int, index: int) -> dict[int, Tensor]:
                part = self.patches.only(names[which::2])
                rng = generator(seed, "search", which, index)
                return draw(part, self._draws(plan.batch // 2), scale=plan.scale, rng=rng)

            kept, _ = search(
                net, units, self._loss(duals, 0.1), (partial(half, 0), partial(half, 1)),
                budget=budget, remove=remove, tolerance=TOLERANCE, order="first", relaxation=relaxation,
                importance=importance, steps=plan.search_steps, learning_rate=plan.search_rate,
                width_rate=15 / plan.search_steps, temperature=0.1, clip=1.0, rng=generator(seed, "logits"),
                trained=[net, duals], **self._state(f"{name}.search"),
            )  # fmt: skip
            small, widths = thin(net, units, kept), [len(channels) for channels in kept]
            scores = self._train(name, small, duals, dense, plan.tune_steps, seed, 0.1, "tune")
            return {**scores, "widths": widths, "removed": budget.removed(widths)}

        self._once(name, run)

    def greedy(self, seed: int, remove: float) -> None:
        """The widths of `drc`, which must be done, with channels selected in the pretrained net, tuned."""
        name, plan = f"greedy-{round(100 * remove)}-{seed}", self.plan

        def run() -> dict[str, Any]:
            dense, duals = self.pretrained(seed, 0.1)
            sparse, units = copy.deepcopy(dense), dense.units()
            rngs = [generator(seed, "select", index) for index in range(plan.select_batches)]
            kept, _ = select(
                sparse, dense, units, self.scores(f"drc-{round(100 * remove)}-{seed}")["widths"],
                [draw(self.patches, self._draws(plan.select_batch), scale=plan.scale, rng=rng) for rng in rngs],
                self._loss(duals, 0.1), per_round=plan.per_round, rate=1e-2, feature_weight=255.0,
                **self._state(f"{name}.select"),
            )  # fmt: skip
            small = thin(sparse, units, kept)
            return self._train(name, small, duals, dense, plan.tune_steps, seed, 0.1, "tune")

        self._once(name, run)

    def scores(self, name: str) -> dict[str, Any]:
        """What a finished run came to."""
        return json.loads((self.work / f"{name}.json").read_text())["scores"]

    def _once(self, name: str, run: Callable[[], dict[str, Any]]) -> None:
        path = self.work / f"{name}.json"
        if path.exists() and json.loads(path.read_text())["key"] == self.key:
            return
        write_bytes(path, json.dumps({"key": self.key, "scores": run()}).encode())

    def _draws(self, batch: int) -> PatchDraw:
        return PatchDraw(patch=self.plan.patch, octave=self.plan.octave, batch=batch)

    def _loss(self, duals: nn.Module, weight: float, teacher: nn.Module | None = None) -> Any:
        return loss_of(
            duals, scale=self.plan.scale, weight=weight, compute=Compute(CPU, "auto"), teacher=teacher,
            teacher_weight=255.0 if teacher else 0.0,
        )  # fmt: skip

    def _state(self, name: str) -> dict[str, Any]:
        return {"checkpoint": self.work / f"{name}.state", "key": self.key, "log": lambda step, values: None}

    def _train(
        self, name: str, net: Any, duals: Any, teacher: Any, steps: int, seed: int, weight: float, stage: Phase
    ) -> dict[str, Any]:
        plan, rate = self.plan, self.plan.rate if stage == "base" else self.plan.tune_rate
        draws, stream = self._draws(plan.batch), Stream(seed, stage)
        batches = Batches(patches=self.patches, draws=draws, scale=plan.scale, stream=stream)
        descent = Descent(steps=steps, learning_rate=rate, warmup=30, average=0.99, clip=1.0)
        resumption = Resumption(self.work / f"{name}.state", self.key)
        train(net, duals, self._loss(duals, weight, teacher), batches, descent, resumption=resumption)
        arch = {**plan.arch, "inner": widths_of(net, net.units())}
        common: dict[str, Any] = {"scale": plan.scale, "made_by": "benchmark", "params_hash": ""}
        cards.save(self.work / f"{name}.safetensors", net, arch=arch, **common)
        if not isinstance(duals, KernelDual):
            cards.save(self.work / f"{name}.duals.safetensors", duals, arch=plan.dual_arch, **common)
        for state in (f"{name}.state", f"{name}.search.state", f"{name}.select.state"):
            (self.work / state).unlink(missing_ok=True)
        parameters = sum(weight.numel() for weight in net.parameters())
        return {"parameters": parameters, "steps": steps, **self._score(net.eval())}

    def _score(self, net: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """PSNR-Y of 8 bits on every test set, `scale` pixels cropped."""
        found = {}
        for name in self.sets:
            every = []
            for high in _exactness.photographs(self.tests / name, self.plan.scale):
                low = _exactness.reduced(high, self.plan.scale, None).float()
                with torch.inference_mode():
                    every.append(metrics.psnr_y(net(low).double(), high, self.plan.scale, whole=True))
            found[name] = sum(every) / len(every)
        return found

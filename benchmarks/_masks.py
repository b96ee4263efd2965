"""One small EDSR, made half as expensive in five ways: the runs that `benchmarks.msgc` compares. Each is kept on disk.

All start from one pretrained net a seed and have the same number of further steps, batches and rates: the dense
control, uniform L1 and random masks spend them all on fine-tuning, DRC and MSGC the first part on their search. A step
of DRC's search draws a whole batch from each half of the photographs, one for the weights and one for the widths (when
these are decided, both for the weights), where a step of MSGC's has one for both. The loss is the mean absolute error;
there are no dual nets and no teacher. Random masks are sized by MSGC's own selection.
"""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks._runs import CPU, StoredRuns
from srfoundry.compression.compressors import COMPRESSORS
from srfoundry.compression.msgc.conversion import convert
from srfoundry.compression.msgc.cost import count_of
from srfoundry.compression.msgc.layer_pairs import pairs_of
from srfoundry.compression.msgc.mask_choice import freeze, settle
from srfoundry.compression.msgc.masked_conv import START, layer_of, wrap
from srfoundry.compression.recipe import SIDE, Compress, tune
from srfoundry.compression.settings import (
    BudgetTarget,
    Compression,
    Fitting,
    SearchDescent,
    Searching,
    TuningWeights,
    WidthModel,
)
from srfoundry.core.compute import channels_last
from srfoundry.core.seeds import Stream, generator, redraw
from srfoundry.dual_regression.settings import LossWeights
from srfoundry.networks.sr.edsr import EDSR, start_at_bicubic
from srfoundry.networks.sr.multiplications import multiplications
from srfoundry.networks.zoo import cards
from srfoundry.networks.zoo.gather_conv import grouped_layers
from srfoundry.training.settings import Descent, PatchDraw

METHODS = ("dense", "uniform", "random", "drc", "msgc")
LOW = torch.zeros(1, 3, SIDE, SIDE)  # at which multiply-adds are counted
TOLERANCE = 0.01
VERSION = 4  # of the code behind the runs; raise it when runs on disk would come out otherwise


@dataclass(frozen=True)
class Plan:
    """What all runs share. `remove` is of the whole net's multiply-adds."""

    blocks: int = 8
    width: int = 32
    multiple: int = 8
    remove: float = 0.5
    steps: int = 2500  # of pretraining
    search_steps: int = 500
    tune_steps: int = 1000
    batch: int = 8
    patch: int = 48
    octave: float = 0.3
    rate: float = 2e-3
    tune_rate: float = 6e-4

    @property
    def arch(self) -> dict[str, Any]:
        """As in a card."""
        return {"name": "edsr", "scale": 2, "blocks": self.blocks, "width": self.width}

    @property
    def target(self) -> BudgetTarget:
        """What must be saved: multiply-adds."""
        return BudgetTarget(measure="macs", remove=self.remove, tolerance=TOLERANCE, multiple=self.multiple)

    @property
    def draws(self) -> PatchDraw:
        """The patches of a step."""
        return PatchDraw(patch=self.patch, octave=self.octave, batch=self.batch)

    @property
    def descent(self) -> Descent:
        """Fine-tuning's steps and rates."""
        return Descent(steps=self.tune_steps, learning_rate=self.tune_rate, warmup=30, average=0.99, clip=1.0)

    def compression(self, batch: int) -> Compression:
        """What a compressor is given; `batch` patches of each half of the photographs."""
        descent = SearchDescent(
            steps=self.search_steps,
            learning_rate=self.tune_rate,
            width_rate=15 / self.search_steps,
            temperature=0.1,
            clip=1.0,
        )
        searching = Searching(
            model=WidthModel(order="first", relaxation="threshold", importance="activation"),
            descent=descent,
            weights=LossWeights(dual_weight=0.0, estimate_weight=0.0),
            draws=replace(self.draws, batch=batch),
        )
        return Compression(target=self.target, searching=searching, groups=4)


class Runs(StoredRuns):
    """The runs of a plan in a folder."""

    def __init__(self, plan: Plan, data: Path, tests: Path, work: Path, sets: list[str]) -> None:
        super().__init__([VERSION, asdict(plan)], data=data, tests=tests, work=work, sets=sets, scale=2)
        self.plan = plan

    def run(self, method: str, seed: int) -> dict[str, Any]:
        """What a run came to: done now if it is not on disk."""
        if method != "base":
            self.run("base", seed)  # whose time is its own
        name = f"{method}-{seed}"
        return self.once(name, lambda: self._run(name, method, seed))

    def _run(self, name: str, method: str, seed: int) -> dict[str, Any]:
        began = time.process_time()
        net, arch = self._base(seed) if method == "base" else self._smaller(method, seed)
        common: dict[str, Any] = {"scale": 2, "made_by": "benchmark", "params_hash": ""}
        cards.save(self.work / f"{name}.safetensors", net, arch={**self.plan.arch, **arch}, **common)
        return {
            "parameters": sum(weight.numel() for weight in net.parameters()),
            "macs_96x96": multiplications(net, LOW),
            **self.psnr(net.eval()),
            "cpu_seconds": round(time.process_time() - began, 1),
        }

    def _base(self, seed: int) -> tuple[Any, dict[str, Any]]:
        net = EDSR(**{key: value for key, value in self.plan.arch.items() if key != "name"})
        redraw(net, generator(seed, "net"))
        start_at_bicubic(net)
        descent = replace(self.plan.descent, steps=self.plan.steps, learning_rate=self.plan.rate)
        return self._train(f"base-{seed}", channels_last(net, CPU), descent, Stream(seed, "base")), {}

    def _smaller(self, method: str, seed: int) -> tuple[Any, dict[str, Any]]:
        plan, name = self.plan, f"{method}-{seed}"
        net: Any = channels_last(cards.load(self.work / f"base-{seed}.safetensors")[0], CPU)
        searches, arch = False, {}
        if method == "random":
            net, arch = self._at_random(net, seed)
        elif method != "dense":
            compressor = COMPRESSORS[method]
            compress: Compress = compressor.load()
            # a step of DRC's search draws a whole batch from each half, one of MSGC's a half for each
            how = plan.compression(plan.batch if method == "drc" else plan.batch // 2)
            found = compress(net, nn.Module(), how, self.conditions(f"{name}.search", Stream(seed, "search")))
            net, arch, searches = found.net, found.arch, compressor.searches
        steps = plan.tune_steps + (0 if searches else plan.search_steps)
        return self._train(name, net, replace(plan.descent, steps=steps), Stream(seed, "tune")), arch

    def _at_random(self, net: Any, seed: int) -> tuple[Any, dict[str, Any]]:
        """Masks by chance, sized by MSGC's own selection."""
        pairs = pairs_of(net.units())
        masked = wrap(net, pairs)
        for layer in [layer_of(masked, each) for pair in pairs for each in (pair.makers[0], pair.reader)]:
            assert layer.logits is not None
            noise = torch.randn(layer.logits.shape, generator=generator(seed, "random", layer.name))
            layer.logits.data = START + noise
        choices = settle(masked, pairs, count_of(net, pairs, groups=4, low=LOW), self.plan.target)
        freeze(masked, pairs, choices)
        plain = convert(masked, pairs)
        return plain, {"inner": [len(choice.used) for choice in choices], "grouped": grouped_layers(plain)}

    def _train(self, name: str, net: Any, descent: Descent, stream: Stream) -> Any:
        weights = TuningWeights(dual_weight=0.0, estimate_weight=0.0, teacher_weight=0.0)
        how = Fitting(weights=weights, draws=self.plan.draws, descent=descent)
        tune(net, nn.Module(), how, self.conditions(name, stream), teacher=None)
        self.forget(name)
        return net

"""One small EDSR, made half as expensive in five ways: the runs that `benchmarks.msgc` compares. Each is kept on disk.

All start from one pretrained net a seed and have the same number of further steps, batches and rates: the dense
control, uniform L1 and random masks spend them all on fine-tuning, DRC and MSGC the first part on their search. A step
of DRC's search draws a whole batch from each half of the photographs, one for the weights and one for the widths (when
these are decided, both for the weights), where a step of MSGC's has one for both. The loss is the mean absolute error;
there are no dual nets and no teacher. Random masks are sized by MSGC's own selection.
"""

import json
import time
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import md5
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import _exactness
from srfoundry.compression.baselines import choose_channels
from srfoundry.compression.budget import Budget, ladders_of
from srfoundry.compression.msgc.layer_pairs import chains_of
from srfoundry.compression.msgc.conversion import convert, freeze, settle
from srfoundry.compression.msgc.cost import count_of
from srfoundry.compression.msgc.mask_search import search_masks
from srfoundry.compression.msgc.masked_conv import START, layer_of, wrap
from srfoundry.compression.search import search
from srfoundry.core.atomic import write_bytes
from srfoundry.core.compute import Compute, channels_last
from srfoundry.core.seeds import Stream, generator, redraw
from srfoundry.core.state import Resumption
from srfoundry.dual_regression.batches import Batches, draw
from srfoundry.dual_regression.loss import loss_of
from srfoundry.dual_regression.training import train
from srfoundry.imaging import metrics
from srfoundry.imaging.patches import Patches
from srfoundry.networks.sr.edsr import EDSR, start_at_bicubic
from srfoundry.networks.sr.multiplications import multiplications
from srfoundry.networks.sr.prunable import thin
from srfoundry.networks.zoo import cards
from srfoundry.networks.zoo.gather_conv import grouped_layers
from srfoundry.training.settings import Descent, PatchDraw

METHODS = ("dense", "uniform", "random", "drc", "msgc")
CPU = torch.device("cpu")
SIDE = 96  # low-resolution pixels a side at which multiply-adds are counted
TOLERANCE = 0.01
VERSION = 3  # of the code behind the runs; raise it when runs on disk would come out otherwise


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


class Runs:
    """The runs of a plan in a folder."""

    def __init__(self, plan: Plan, data: Path, tests: Path, work: Path, sets: list[str]) -> None:
        self.plan, self.tests, self.work, self.sets = plan, tests, work, sets
        self.patches = Patches.open(data / "train")
        index = md5((data / "train" / "index.json").read_bytes(), usedforsecurity=False).hexdigest()
        self.key = json.dumps([VERSION, asdict(plan), index, sets])
        self.low = torch.zeros(1, 3, SIDE, SIDE)

    def run(self, method: str, seed: int) -> dict[str, Any]:
        """What a run came to: done now if it is not on disk."""
        path = self.work / f"{method}-{seed}.json"
        if path.exists() and (read := json.loads(path.read_text()))["key"] == self.key:
            return read["scores"]
        if method != "base":
            self.run("base", seed)  # whose time is its own
        began = time.process_time()
        net, arch = self._base(seed) if method == "base" else self._smaller(method, seed)
        common: dict[str, Any] = {"scale": 2, "made_by": "benchmark", "params_hash": ""}
        cards.save(path.with_suffix(".safetensors"), net, arch={**self.plan.arch, **arch}, **common)
        scores = {
            "parameters": sum(weight.numel() for weight in net.parameters()),
            "macs_96x96": multiplications(net, self.low),
            **self._score(net.eval()),
            "cpu_seconds": round(time.process_time() - began, 1),
        }
        write_bytes(path, json.dumps({"key": self.key, "scores": scores}).encode())
        return scores

    def _base(self, seed: int) -> tuple[Any, dict[str, Any]]:
        net = EDSR(**{key: value for key, value in self.plan.arch.items() if key != "name"})
        redraw(net, generator(seed, "net"))
        start_at_bicubic(net)
        return self._train(f"base-{seed}", channels_last(net, CPU), self.plan.steps, self.plan.rate, seed), {}

    def _smaller(self, method: str, seed: int) -> tuple[Any, dict[str, Any]]:
        plan, name = self.plan, f"{method}-{seed}"
        net: Any = channels_last(cards.load(self.work / f"base-{seed}.safetensors")[0], CPU)
        units = net.units()
        steps, arch = plan.tune_steps, {}
        budget: Any = None
        if method in ("uniform", "drc"):
            budget = Budget.multiplications(net, units, ladders_of(net, units, plan.multiple), self.low)
        if method == "uniform":
            kept = choose_channels(
                "uniform", net, units, budget=budget, remove=plan.remove, tolerance=TOLERANCE, rng=generator(seed)
            )  # fmt: skip
            net, arch = thin(net, units, kept), {"inner": [len(channels) for channels in kept]}
        elif method == "drc":
            kept = self._kept(name, net, budget, seed)
            net, arch = thin(net, units, kept), {"inner": [len(channels) for channels in kept]}
        elif method in ("msgc", "random"):
            net, widths = self._masked(name, net, seed, searched=method == "msgc")
            arch = {"inner": widths, "grouped": grouped_layers(net)}
        if method in ("dense", "uniform", "random"):
            steps += plan.search_steps
        return self._train(name, net, steps, plan.tune_rate, seed), arch

    def _kept(self, name: str, net: Any, budget: Any, seed: int) -> list[Tensor]:
        plan, names = self.plan, self.patches.photographs()

        def half(which: int, index: int) -> dict[int, Tensor]:
            rng = generator(seed, "search", which, index)
            return draw(self.patches.only(names[which::2]), self._draws(), scale=2, rng=rng)

        return search(
            net, net.units(), self._loss(), (partial(half, 0), partial(half, 1)), budget=budget, remove=plan.remove,
            tolerance=TOLERANCE, order="first", relaxation="threshold", importance="activation",
            steps=plan.search_steps, learning_rate=plan.tune_rate, width_rate=15 / plan.search_steps, temperature=0.1,
            clip=1.0, rng=generator(seed, "logits"), trained=[net], **self._state(f"{name}.search"),
        )[0]  # fmt: skip

    def _masked(self, name: str, net: Any, seed: int, *, searched: bool) -> tuple[Any, list[int]]:
        plan, chains = self.plan, chains_of(net.units())
        count = count_of(net, chains, groups=4, low=self.low)
        masked = wrap(net, chains)
        budget: dict[str, Any] = {"remove": plan.remove, "tolerance": TOLERANCE, "multiple": plan.multiple}
        if searched:
            choices, _ = search_masks(
                masked, chains, self._loss(),
                lambda i: draw(self.patches, self._draws(), scale=2, rng=generator(seed, "search", i)),
                count=count, steps=plan.search_steps, learning_rate=plan.tune_rate, mask_rate=15 / plan.search_steps,
                temperature=0.1, clip=1.0, seed=(seed, "masks"), trained=[], **budget, **self._state(f"{name}.search"),
            )  # fmt: skip
        else:
            for layer in [layer_of(masked, each) for chain in chains for each in (chain.makers[0], chain.reader)]:
                assert layer.logits is not None
                noise = torch.randn(layer.logits.shape, generator=generator(seed, "random", layer.name))
                layer.logits.data = START + noise
            choices = settle(masked, chains, count, **budget)
            freeze(masked, chains, choices)
        return convert(masked, chains), [len(choice.used) for choice in choices]

    def _train(self, name: str, net: Any, steps: int, rate: float, seed: int) -> Any:
        stream = Stream(seed, "base" if name.startswith("base") else "tune")
        batches = Batches(patches=self.patches, draws=self._draws(), scale=2, stream=stream)
        descent = Descent(steps=steps, learning_rate=rate, warmup=30, average=0.99, clip=1.0)
        resumption = Resumption(self.work / f"{name}.state", self.key)
        train(net, nn.Module(), self._loss(), batches, descent, resumption=resumption)
        for state in (f"{name}.state", f"{name}.search.state"):
            (self.work / state).unlink(missing_ok=True)
        return net

    def _draws(self) -> PatchDraw:
        return PatchDraw(patch=self.plan.patch, octave=self.plan.octave, batch=self.plan.batch)

    def _loss(self) -> Any:
        return loss_of(nn.Module(), scale=2, weight=0.0, compute=Compute(CPU, "auto"))

    def _state(self, name: str) -> dict[str, Any]:
        return {"checkpoint": self.work / f"{name}.state", "key": self.key, "log": lambda _step, _values: None}

    def _score(self, net: nn.Module) -> dict[str, float]:
        """PSNR-Y of 8 bits on every test set, 2 pixels cropped."""
        found = {}
        for name in self.sets:
            every = []
            for high in _exactness.photographs(self.tests / name, 2):
                low = _exactness.reduced(high, 2, None).float()
                with torch.inference_mode():
                    every.append(metrics.psnr_y(net(low).double(), high, 2, whole=True))
            found[name] = sum(every) / len(every)
        return found

"""What training costs by a model: a part of `benchmarks.scale`, and the figures of docs/scale.md.

    T(n) = steps * (F / (n * rate) + 2 (n - 1) / n * 4 bytes * parameters / bandwidth)

F are the operations of a step: two for each multiply-add of the primal and its dual nets on a batch, and twice as many
again for the way back. Measured here: the seconds of a step on one thread, whole (loss, clipping, averaging), from
which the rate follows, beside the matrix product's rate on that thread; and how quickly a process draws a batch.
No GPU was there: its rate is its maker's peak times a share that such convolutions are assumed to reach (GPU).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from srfoundry.core.compute import Compute, channels_last
from srfoundry.core.seeds import generator
from srfoundry.dual_regression.batches import draw
from srfoundry.dual_regression.loss import loss_of
from srfoundry.dual_regression.settings import LossWeights
from srfoundry.imaging.patches import Patches
from srfoundry.imaging.scales import reductions
from srfoundry.networks.sr.multiplications import multiplications
from srfoundry.networks.zoo.architectures import build
from srfoundry.training.optimiser import Optimisation
from srfoundry.training.settings import Descent, PatchDraw

DF2K = (3450, 2.8e6)  # photographs of DIV2K and Flickr2K, and their mean pixels
GPUS = (1, 8, 64)
DAY = 86400.0


@dataclass(frozen=True)
class Machine:
    """What a processor is taken to do: operations a second in training, and bytes a second of an all-reduce."""

    rate: float
    bandwidth: float


# NVIDIA's data sheets: 156e12 dense TF32 operations a second, NVLink 600e9 bytes a second both ways, of which a third
# and a half are assumed; between hosts 25e9 (200 Gb/s InfiniBand)
GPU = Machine(rate=0.3 * 156e12, bandwidth=25e9)


@dataclass(frozen=True)
class Case:
    """A training: a network and its dual nets, patches and steps."""

    arch: Mapping[str, Any]
    dual: Mapping[str, Any]
    patch: int
    batch: int
    steps: int

    @property
    def scale(self) -> int:
        """Of the network."""
        return self.arch["scale"]

    def operations(self) -> float:
        """F: of one step."""
        side = self.patch // self.scale
        primal = multiplications(build(dict(self.arch)).to("meta"), torch.zeros(1, 3, side, side, device="meta"))
        factors = reductions(self.scale)
        restored = [torch.zeros(1, 3, self.patch // by, self.patch // by, device="meta") for by in reversed(factors)]
        mapping = build(dict(self.dual)).to("meta")
        return 3 * 2 * self.batch * (primal + multiplications(_Called(mapping), restored))  # pyright: ignore[reportArgumentType]

    def parameters(self) -> int:
        """Of both, whose gradients travel."""
        nets = (build(dict(each)).to("meta") for each in (self.arch, self.dual))
        return sum(weight.numel() for net in nets for weight in net.parameters())

    def step(self) -> Callable[[], object]:
        """A whole step on noise."""
        net, duals = (channels_last(build(dict(each)), torch.device("cpu")) for each in (self.arch, self.dual))
        descent = Descent(steps=1, learning_rate=1e-4, warmup=0, average=0.99, clip=1.0)
        weights = LossWeights(dual_weight=0.1, estimate_weight=0.0)
        loss = loss_of(duals, scale=self.scale, weights=weights, compute=Compute(torch.device("cpu")))
        optimisation = Optimisation(net, duals, descent, fused=True)
        sizes = {by: self.patch // by for by in reductions(self.scale)}
        images = {by: torch.rand(self.batch, 3, side, side, generator=generator(0, by)) for by, side in sizes.items()}
        return lambda: optimisation.update(loss(net, images), 1e-4)

    def days(self, count: int, machine: Machine) -> float:
        """T(count), in days."""
        share = 2 * (count - 1) / count * 4 * self.parameters() / machine.bandwidth
        return self.steps * (self.operations() / (count * machine.rate) + share) / DAY


class _Called(torch.nn.Module):
    """A dual net of several images, counted as a net of one input."""

    def __init__(self, mapping: torch.nn.Module) -> None:
        super().__init__()
        self.mapping = mapping

    def forward(self, images: list[torch.Tensor]) -> list[torch.Tensor]:
        """Its images."""
        return self.mapping(images)


def _drn(scale: int, blocks: int, width: int, **values: int) -> Case:
    arch = {"name": "drn", "scale": scale, "blocks": blocks, "width": width}
    return Case(arch, {"name": "drn_duals", "scale": scale, "width": 16}, **values)


CASES = {
    "factory x2": _drn(2, 6, 16, patch=48, batch=16, steps=2000),
    "DRN-S x4": _drn(4, 30, 16, patch=384, batch=32, steps=1_000_000),
    "DRN-L x4": _drn(4, 40, 20, patch=384, batch=32, steps=1_000_000),
    "DRN-S x8": _drn(8, 30, 8, patch=384, batch=32, steps=1_000_000),
}


TIMED = {  # no more than half a minute
    "factory x2": CASES["factory x2"],
    "DRN-S x4": replace(CASES["DRN-S x4"], batch=1, patch=192),
}


def seconds(call: Callable[[], object], times: int) -> float:
    """Processor seconds of a call, the least of some."""
    call()
    found = []
    for _ in range(times):
        began = time.process_time()
        call()
        found.append(time.process_time() - began)
    return min(found)


def peak() -> float:
    """Operations a second of a matrix product on this thread."""
    left = torch.rand(1024, 1024)
    return 2 * 1024**3 / seconds(lambda: left @ left, 5)


def figures(prepared: Path) -> dict[str, Any]:
    """The model's rows, and what it rests on.

    Args:
        prepared: a set to draw patches from, with the reductions of x4.
    """
    torch.set_num_threads(1)
    product, rows = peak(), []
    rates = {name: case.operations() / seconds(case.step(), 3) for name, case in TIMED.items()}
    for name, case in CASES.items():
        rate = rates.get(name, rates["DRN-S x4"])  # the larger ones' convolutions are as wide
        row = {"training": name, "parameters": case.parameters(), "tera_operations_a_step": case.operations() / 1e12}
        days = {"days_one_thread": case.days(1, Machine(rate, 1.0))}
        days |= {f"days_{count}_gpu": case.days(count, GPU) for count in GPUS}
        rows.append({**row, **{key: round(value, 3) for key, value in days.items()}})
    return {
        "product_gigaflops": round(product / 1e9, 1),
        "step_gigaflops": {name: round(rate / 1e9, 1) for name, rate in rates.items()},
        "rows": rows,
        **drawing(Patches.open(prepared)),
        "df2k_x4_gigabytes": round(DF2K[0] * DF2K[1] * 3 * sum(by**-2 for by in (1, 2, 4)) / 1e9, 1),
    }


def drawing(patches: Patches) -> dict[str, float]:
    """How quickly one process draws the factory's batches at x2, and their bytes."""
    draws = PatchDraw(patch=48, octave=0.5, batch=16)
    count = iter(range(1000))
    once = seconds(lambda: draw(patches, draws, scale=2, rng=generator(1, next(count))), 30)
    found = draw(patches, draws, scale=2, rng=generator(1, "bytes"))
    size = sum(images.numel() for images in found.values())  # 8 bits in the files
    return {"batches_a_second": round(1 / once, 1), "megabytes_a_second": round(size / once / 1e6, 1)}

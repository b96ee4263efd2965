"""Is loading fast and small? A part of the benchmark of data handling, which calls the two functions and prints them.

Steps and batches are timed with the project's own code, steps on two threads and batches on one in another process.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srfoundry.config.params import Params, load
from srfoundry.core.compute import Compute, channels_last
from srfoundry.core.parallel import threads
from srfoundry.core.seeds import Stream, generator, redraw
from srfoundry.core.state import Log, Resumption
from srfoundry.data.prepare import prepare
from srfoundry.dual_regression.batches import Batches, draw
from srfoundry.dual_regression.loss import loss_of
from srfoundry.dual_regression.training import train
from srfoundry.imaging import images
from srfoundry.imaging.patches import ALL, Patches
from srfoundry.networks.adaptive.mzsr import MZSR
from srfoundry.networks.sr.drn import DRN, start_at_bicubic
from srfoundry.networks.sr.duals import DualNets
from srfoundry.zero_shot import plain_training

CPU = torch.device("cpu")
THREADS = 2  # of a training step
STEPS = 40
BATCHES = 400
SET_BYTES = 4e9
SIDE = (1356, 2040)  # of a photograph of the large set, as of the field's common training set
PATCHES = 6400


@dataclass(frozen=True)
class _Photograph:
    path: Path
    height: int
    width: int

    @property
    def source(self) -> Path:
        return self.path


class _Still(Patches):
    """The same patches at every step: what is left of a step is training."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._drawn: dict[tuple[int, int], dict[int, Tensor]] = {}

    def batch(
        self,
        count: int,
        patch: int,
        *,
        rng: torch.Generator,
        factors: Sequence[int] | None = None,
        rows: slice | Sequence[int] = ALL,
        permuted: float = 0.0,
    ) -> dict[int, Tensor]:
        assert rows == ALL
        if (count, patch) not in self._drawn:
            self._drawn[count, patch] = super().batch(count, patch, rng=rng, permuted=permuted)
        return {factor: self._drawn[count, patch][factor] for factor in factors or self.factors}


def loader_over_training() -> dict[str, Any]:
    """Batches a second of one loading process over training steps a second, for MZSR and DRN; the smallest ratio leads.

    `dual` are a DRN step's patches alone, `dual_draw` is all that it draws: half of them are halved once more for it.
    """
    params = load(Path("params.yaml"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {path.stem: _Photograph(path, *images.read(path).shape[-2:]) for path in images.bundled()}
        prepare(folder / "set", found, [1, 2, 4], mapped=threads())
        loads = {
            kind: 1 / _alone("rate", str(folder / "set"), kind)["seconds"] for kind in ("mzsr", "dual", "dual_draw")
        }
        steps = {kind: 1 / seconds for kind, seconds in _steps(folder, params).items()}
    ratios = {"mzsr": loads["mzsr"] / steps["mzsr"], "dual": loads["dual"] / steps["dual"]}
    ratios["dual_draw"] = loads["dual_draw"] / steps["dual"]
    return {
        "loader_over_training": round(min(ratios.values()), 1),
        "batches_per_s": {kind: round(value, 1) for kind, value in loads.items()},
        "steps_per_s": {kind: round(value, 2) for kind, value in steps.items()},
        "ratios": {kind: round(value, 1) for kind, value in ratios.items()},
    }


def loader_rss() -> dict[str, Any]:
    """MB that a process grows by, at its peak, while it draws random 192x192 patches from a set of 4 GB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "set"
        _large(folder)
        return _alone("rss", str(folder))


def _steps(folder: Path, params: Params) -> dict[str, float]:
    """Median seconds of a training step, on data that is there already."""
    torch.set_num_threads(THREADS)
    patches = _Still.open(folder / "set")
    net = MZSR(width=params.pretrain.width, depth=params.pretrain.depth)
    redraw(net, generator(1, "net"))
    first = partial(_pretrain, net, params, patches, folder)
    chosen, scale = params.dual, params.shared.scale
    primal, duals = (
        DRN(scale=scale, blocks=chosen.blocks, width=chosen.width),
        DualNets(scale=scale, width=chosen.dual_width),
    )
    redraw(primal, generator(1, "primal"))
    redraw(duals, generator(1, "duals"))
    start_at_bicubic(primal)
    primal = channels_last(primal, CPU)
    draws = replace(chosen.draw, octave=0.0)
    batches = Batches(patches=patches, draws=draws, scale=scale, stream=Stream(1, "dual"))
    second = partial(
        _dual,
        primal,
        duals,
        params,
        batches,
        folder,
    )
    return {"mzsr": _median_step(first), "dual": _median_step(second)}


def _pretrain(net: MZSR, params: Params, patches: Patches, folder: Path, *, log: Log) -> None:
    """A training as stage `pretrain` has it, of STEPS steps."""
    chosen = replace(params.pretrain.training, steps=STEPS)
    plain_training.train(
        net,
        partial(plain_training.bicubic_pairs, patches, chosen, scale=params.shared.scale, device=CPU),
        chosen,
        schedule=params.pretrain.schedule,
        compute=Compute(CPU, params.shared.precision),
        stream=Stream(1, "pretrain"),
        resumption=Resumption(folder / "mzsr.pt", "", log),
    )


def _dual(net: DRN, duals: DualNets, params: Params, batches: Batches, folder: Path, *, log: Log) -> None:
    """A training as stage `dual` has it, of STEPS steps."""
    chosen, compute = params.dual, Compute(CPU, params.shared.precision)
    loss = loss_of(duals, scale=batches.scale, weights=chosen.weights, compute=compute)
    resumption = Resumption(folder / "dual.pt", "", log)
    train(net, duals, loss, batches, replace(chosen.descent, steps=STEPS), resumption=resumption)


def _median_step(train: Callable[..., object]) -> float:
    at: list[float] = []

    def log(step: int, values: Mapping[str, float]) -> None:
        at.append(time.perf_counter())

    train(log=log)
    return statistics.median(after - before for before, after in zip(at[3:], at[4:], strict=False))


def _rate(folder: Path, kind: str) -> dict[str, float]:
    """Median seconds of a batch, in this process and on one thread."""
    torch.set_num_threads(1)
    params, patches = load(Path("params.yaml")), Patches.open(folder)
    chosen, plain, scale = params.dual, params.pretrain.training, params.shared.scale
    calls: dict[str, Callable[[torch.Generator], object]] = {
        "mzsr": lambda rng: patches.batch(plain.batch, plain.patch, rng=rng, factors=[1, scale]),
        "dual": lambda rng: patches.batch(chosen.draw.batch, chosen.draw.patch, rng=rng, factors=[1, scale]),
        "dual_draw": lambda rng: draw(patches, chosen.draw, scale=scale, rng=rng),
    }
    seconds = []
    for step in range(BATCHES):
        began = time.perf_counter()
        calls[kind](generator(1, kind, step))
        seconds.append(time.perf_counter() - began)
    return {"seconds": statistics.median(seconds)}


def _rss(folder: Path) -> dict[str, float]:
    torch.set_num_threads(1)
    patches = Patches.open(folder)
    size = sum((folder / f"x{factor}.bin").stat().st_size for factor in patches.factors)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is that of the imports
    idle, began = _memory("VmRSS"), time.perf_counter()
    highest = idle
    for step in range(PATCHES // 16):
        patches.batch(16, 192, rng=generator(1, "rss", step))
        highest = max(highest, _memory("VmRSS"))
    seconds = time.perf_counter() - began
    return {
        "loader_rss_mb": round(max(highest, _memory("VmHWM")) - idle, 1),
        "idle_rss_mb": round(idle, 1),
        "patches": PATCHES,
        "set_gb": round(size / 1e9, 2),
        "patches_per_s": round(PATCHES / seconds),
    }


def _memory(name: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024 / 1e6


def _large(folder: Path) -> None:
    """Write a set of noise, photograph for photograph another piece of it."""
    folder.mkdir()
    height, width = SIDE
    sizes = {factor: 3 * (height // factor) * (width // factor) for factor in (1, 2)}
    noise = generator(1, "noise")
    levels = torch.randint(0, 256, (2 * sizes[1],), generator=noise, dtype=torch.uint8).numpy().tobytes()
    count = int(SET_BYTES // sum(sizes.values())) + 1
    for factor, size in sizes.items():
        with (folder / f"x{factor}.bin").open("wb") as file:
            for index in range(count):
                start = index * 7919 % sizes[1]
                file.write(memoryview(levels)[start : start + size])
    entries = [
        {
            "name": f"p{index}",
            "height": height,
            "width": width,
            "offsets": {str(factor): index * size for factor, size in sizes.items()},
        }
        for index in range(count)
    ]
    (folder / "index.json").write_text(json.dumps({"factors": list(sizes), "photographs": entries}))


def _alone(*arguments: str) -> dict[str, Any]:
    """Run one measurement of this file in a process of its own, on one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks._loading", *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Measure what the arguments say and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["loader_over_training", "loader_rss", "rate", "rss"])
    parser.add_argument("more", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.what == "rate":
        found = _rate(Path(options.more[0]), options.more[1])
    elif options.what == "rss":
        found = _rss(Path(options.more[0]))
    else:
        found = loader_over_training() if options.what == "loader_over_training" else loader_rss()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()

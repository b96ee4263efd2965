"""One meta-step of MZSR: srfoundry.zero_shot.maml against what a user of PyTorch writes, in turns.

python -m benchmarks.metastep                       small (8 tasks x (4+4) of 32x32, 2 inner steps) and paper's
python -m benchmarks.metastep --tasks 2 --steps 2   the paper's setting cut to 2 tasks and 2 inner steps

The plain loop: float32, NCHW, a task at a time, torch.autograd.grad(create_graph=True). Quick rows are `ratio` times as
fast; `off` is the relative L2 distance between both gradients, `cosine` that of the angle between them.
"""

import argparse
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from benchmarks import table
from srfoundry.core import seeds
from srfoundry.networks.adaptive.mzsr import MZSR
from srfoundry.zero_shot import maml

RATE = 0.01
Setting = tuple[int, int, int, int]  # tasks, shots, pixels a side, inner steps


def plain(net: nn.Module, tasks: maml.Tasks, steps: int) -> Tensor:
    """The meta-gradient as most people would write it, as one vector."""
    net.zero_grad()
    for t in range(len(tasks.support)):
        weights: dict[str, Tensor] = dict(net.named_parameters())
        total = torch.zeros(())
        for _ in range(steps):
            inner = (functional_call(net, weights, (tasks.support[t],)) - tasks.support_high[t]).abs().mean()
            slopes = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
            moved = zip(weights.items(), slopes, strict=True)
            weights = {name: value - RATE * slope for (name, value), slope in moved}
            total = total + (functional_call(net, weights, (tasks.query[t],)) - tasks.query_high[t]).abs().mean()
        (total / (steps * steps * len(tasks.support))).backward()
    return torch.cat([weight.grad.flatten() for weight in net.parameters() if weight.grad is not None])


def quick(net: nn.Module, tasks: maml.Tasks, steps: int, precision: str, together: int) -> Tensor:
    """The same from maml.gradient."""
    rates = torch.full((steps, len(list(net.parameters()))), RATE)
    uniform = torch.full((steps,), 1 / steps)
    made, _, _ = maml.gradient(net, tasks, rates=rates, step_weights=uniform, precision=precision, together=together)
    return torch.cat([slope.flatten() for slope in made.values()])


def contestants(setting: Setting) -> dict[str, Callable[[], Tensor]]:
    """The plain loop, and the quick program in both precisions, a task at a time and all at once."""
    tasks, shots, size, steps = setting
    net = MZSR()
    seeds.redraw(net, seeds.generator(0, "metastep"))
    rng = seeds.generator(1, "metastep")
    drawn = maml.Tasks(*(torch.rand(tasks, shots, 3, size, size, generator=rng) for _ in range(4)))
    found: dict[str, Callable[[], Tensor]] = {"plain float32": partial(plain, net, drawn, steps)}
    for precision in ("float32", "bfloat16"):
        found[f"quick {precision}"] = partial(quick, net, drawn, steps, precision, 1)
    found["quick bfloat16, all at once"] = partial(quick, net, drawn, steps, "bfloat16", tasks)
    return found


def peak(setting: Setting, name: str, threads: int) -> float:
    """Peak memory in MiB (Linux) of a process that makes one meta-step, above what it had before."""
    torch.set_num_threads(threads)
    call = contestants(setting)[name]
    Path("/proc/self/clear_refs").write_text("5")  # a new process begins with its parent's peak
    before = _high_water()
    call()
    return _high_water() - before


def _high_water() -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure(title: str, setting: Setting, rounds: int, threads: int) -> list[dict[str, Any]]:
    """Rows of one setting."""
    calls = contestants(setting)
    gradients = {name: call() for name, call in calls.items()}
    seconds = table.interleaved(calls, rounds, warm_up=0)
    right, middle = gradients["plain float32"], statistics.median(seconds["plain float32"])
    rows = []
    for name, taken in seconds.items():
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            memory = pool.submit(peak, setting, name, threads).result()
        row: dict[str, Any] = {"setting": title, "program": name, **table.spread(taken)}
        row["ratio"] = round(middle / statistics.median(taken), 3)
        row["off"] = float((gradients[name] - right).norm() / right.norm())
        row["cosine"] = round(float(torch.cosine_similarity(gradients[name], right, dim=0)), 6)
        rows.append({**row, "peak_mib": round(memory)})
    return rows


def main() -> None:
    """Measure both settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=5, help="tasks of the paper's setting (default: 5)")
    parser.add_argument("--steps", type=int, default=5, help="inner steps of the paper's setting (default: 5)")
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each program (default: 5)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads (default: all)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = measure("small: 8 x (4+4) of 32x32, 2 steps", (8, 4, 32, 2), options.rounds, options.threads)
    title = f"paper: {options.tasks} x (8+8) of 64x64, {options.steps} steps"
    rows += measure(title, (options.tasks, 8, 64, options.steps), options.rounds, options.threads)
    ratios = {f"{row['setting'].split(':')[0]} {row['program']}": row["ratio"] for row in rows}
    table.report("metastep", rows, threads=options.threads, ratios=ratios)


if __name__ == "__main__":
    table.run(main)

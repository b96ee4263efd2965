"""Training in several processes: what is gained, what the exchange costs, whether bytes and results stay.

The recipe of stage `dual` on the values of params.yaml, in processes of one thread each, in a group as `torchrun` makes
it; a few steps warm up. The speed is that of whole steps, drawing included, in the training loop of the project. The
all-reduce is timed alone, on as many numbers as the default nets have weights, and its share is of a step on two
processes. Of the killed run one process kills itself in the middle; another run goes on from its checkpoint.

    python -m benchmarks._scale_parallel            the photographs of data/synthesize, which `make repro` prepares
"""

import argparse
import hashlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from srfoundry.config.params import load
from srfoundry.core.compute import Compute
from srfoundry.core.process_group import Processes, joined
from srfoundry.core.seeds import Stream
from srfoundry.core.state import Resumption
from srfoundry.dual_regression.recipe import train_dense
from srfoundry.imaging import metrics
from srfoundry.imaging.patches import Patches, crop_to_multiple
from srfoundry.training import loop

CPU = torch.device("cpu")
WARM = 5  # steps that are not timed
EXCHANGES = 50
ROUNDS = 3  # of the timed trainings, in turns
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Task:
    """What each process does.

    Args:
        data: folder of the prepared photographs, train/ and validation/.
        folder: for states and results.
        name: of the run.
        steps: of training.
        dies: step at which the last process kills itself; 0 = none.
        saves: whether a checkpoint is written after every step.
        exchanges: all-reduces to time at the end.
        accumulate: parts that a process's rows of a batch are computed in.
    """

    data: str
    folder: str
    name: str
    steps: int
    dies: int = 0
    saves: bool = False
    exchanges: int = 0
    accumulate: int = 1


def work(task: Task, processes: Processes) -> dict[str, Any] | None:
    """Train as stage `dual` does, in this process of a group."""
    params, data, folder = load(ROOT / "params.yaml"), Path(task.data), Path(task.folder)
    scale = params.shared.scale
    how = params.dual.training(scale, params.degrade)
    how = replace(how, descent=replace(how.descent, steps=task.steps))
    times: list[float] = []
    update = loop.RowMeans.add

    def noted(self: loop.RowMeans, values: Any) -> None:
        times.append(time.perf_counter())
        if task.dies and len(times) == task.dies and processes.rank == processes.count - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        update(self, values)

    loop.RowMeans.add = noted  # called once a step
    loop.SAVE_SECONDS = 0.0 if task.saves else 1e9
    photographs = [Patches.open(data / name) for name in ("train", "validation")]
    made = train_dense(
        how,
        (photographs[0], photographs[1]),
        folder,
        Compute(CPU, params.shared.precision, processes, accumulate=task.accumulate),
        Stream(params.shared.seed, "dual"),
        resumption=Resumption(folder / f"{task.name}.pt", "k", processes=processes),
    )
    gaps = [after - before for before, after in zip(times[WARM:], times[WARM + 1 :], strict=False)]
    weights = b"".join(value.numpy().tobytes() for _, value in sorted(made.net.state_dict().items()))
    count = sum(value.numel() for net in (made.net, made.duals) for value in net.parameters())
    exchange = exchanged(processes, count, task.exchanges)
    return {
        "step_s": statistics.median(gaps) if gaps else 0.0,
        "mean_step_s": statistics.mean(gaps) if gaps else 0.0,
        "allreduce_s": exchange,
        "sha256": hashlib.sha256(weights + json.dumps(made.history).encode()).hexdigest(),
        "psnr_y": held_out(made.net, data, scale),
        "curve": [row["total"] for row in made.history],
    }


def exchanged(processes: Processes, count: int, times: int) -> float:
    """Seconds of an all-reduce of so many numbers, the median of a few."""
    gradient, found = torch.zeros(count, dtype=torch.float64), []  # as gradients of a CPU are
    for _ in range(times):
        processes.decides(True)  # all begin together
        began = time.perf_counter()
        processes.add_up([gradient])
        found.append(time.perf_counter() - began)
    return statistics.median(found) if found else 0.0


def held_out(net: torch.nn.Module, data: Path, scale: int) -> float:
    """PSNR-Y in dB, mean over the photographs of the held-out set with MATLAB's bicubic."""
    from srfoundry.imaging import decoding, images, resize

    found = []
    with torch.inference_mode():
        for path in decoding.find(data / "held_out" / "high"):
            high = crop_to_multiple(images.read(path).float(), scale)
            low = images.from_uint8(images.to_uint8(resize.cubic(high, 1 / scale)))
            found.append(metrics.psnr_y(net(low), high, scale))
    return statistics.mean(found)


def run(task: Task, count: int) -> dict[str, Any] | None:
    """Run a task in so many processes of one thread; None if it was killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks._scale_parallel", "--task", json.dumps(asdict(task))]
    with open(Path(task.folder) / f"{task.name}.log", "w") as log:
        started = [
            subprocess.Popen(command, cwd=ROOT, env={**os.environ, **group, "RANK": str(rank)}, stderr=log)
            for rank in range(count)
        ]
        codes = [each.wait() for each in started]
    path = Path(task.folder) / f"{task.name}.json"
    if any(codes) and not task.dies:
        with suppress(OSError):
            sys.stderr.write((Path(task.folder) / f"{task.name}.log").read_text()[-2000:])
        raise RuntimeError(f"{task.name}: exit codes {codes}")
    return None if any(codes) else json.loads(path.read_text())


def figures(data: Path = ROOT / "data" / "synthesize", *, steps: int = 200, timed: int = 60) -> dict[str, Any]:
    """speedup_two_processes, allreduce_share, resume_different_bytes, psnr_spread_db and what they are made of.

    The spreads are of batches that each process computes at once: sums round differently, and training amplifies that.
    Of batches in four parts, in one, two and four processes, the weights are compared byte by byte.

    Args:
        data: the prepared photographs, train/, validation/ and held_out/high/.
        steps: of the trainings that are compared.
        timed: of those that are timed, in turns.
    """
    with tempfile.TemporaryDirectory() as folder:
        task = Task(str(data), folder, "", steps)
        runs = {count: _found(run(replace(task, name=f"of{count}"), count)) for count in (1, 2, 4)}
        # four parts in all, whoever computes them; in four processes they are what the run above has
        shared = [(count, replace(task, name=f"parts{count}", accumulate=4 // count)) for count in (1, 2)]
        parted = [_found(run(each, count)) for count, each in shared]
        again = _found(run(replace(task, name="again"), 2))
        killed = replace(task, name="killed", saves=True, dies=max(2, steps // 2))
        assert run(killed, 2) is None, "the killed run ended by itself"
        resumed = _found(run(replace(killed, dies=0), 2))
        timing = replace(task, steps=timed, exchanges=EXCHANGES)
        rounds = [
            {count: _found(run(replace(timing, name=f"timed{count}-{number}"), count)) for count in (1, 2)}
            for number in range(ROUNDS)
        ]
    one, two = (statistics.median(each[count]["step_s"] for each in rounds) for count in (1, 2))
    exchange = statistics.median(each[2]["allreduce_s"] for each in rounds)
    curve = runs[1]["curve"]
    return {
        "speedup_two_processes": round(one / two, 3),
        "allreduce_share": round(exchange / two, 4),
        "resume_different_bytes": sum(other["sha256"] != runs[2]["sha256"] for other in (again, resumed)),
        "psnr_spread_db": round(max(_psnr(runs)) - min(_psnr(runs)), 5),
        "curve_spread": round(
            max(abs(a - b) for each in runs.values() for a, b in zip(each["curve"], curve, strict=True)), 6
        ),
        "same_parts_different_bytes": sum(each["sha256"] != runs[4]["sha256"] for each in parted),
        "parallel": {
            "step_ms_one": round(1e3 * one, 2),
            "step_ms_two": round(1e3 * two, 2),
            "allreduce_ms": round(1e3 * exchange, 3),
            "steps": steps,
            "psnr_y": {str(count): round(each["psnr_y"], 4) for count, each in runs.items()},
        },
    }


def _found(result: dict[str, Any] | None) -> dict[str, Any]:
    assert result is not None
    return result


def _psnr(runs: dict[int, dict[str, Any]]) -> list[float]:
    return [each["psnr_y"] for each in runs.values()]


def main() -> None:
    """Print the figures, or do one process's part of a task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "synthesize")
    parser.add_argument("--steps", type=int, default=200, help="of the compared trainings (200)")
    parser.add_argument("--timed", type=int, default=60, help="of the timed ones (60)")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.task:
        print(json.dumps(figures(options.data, steps=options.steps, timed=options.timed), indent=1))
        return
    torch.set_num_threads(1)
    task = Task(**json.loads(options.task))
    with joined(CPU) as processes:
        made = work(task, processes)
    if processes.first:
        (Path(task.folder) / f"{task.name}.json").write_text(json.dumps(made))


if __name__ == "__main__":
    main()

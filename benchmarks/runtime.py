"""Does pruning buy time? The pruned net against the dense one (dual), in ONNX Runtime and in PyTorch, in turns.

python -m benchmarks.runtime            needs `make repro` before
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import table
from srfoundry.core import seeds
from srfoundry.deployment.export import OnnxNet
from srfoundry.networks.zoo import cards
from srfoundry.runtime.session import Session

FILES = {
    "dual": ("exports/dual.onnx", "models/dual.safetensors"),
    "pruned": ("exports/pruned.onnx", "models/prune.safetensors"),
}


def contestants(runtime: str, low: torch.Tensor, threads: int) -> dict[str, Callable[[], object]]:
    """One call for each net: a whole image, numbers in and numbers out."""
    found: dict[str, Callable[[], object]] = {}
    for name, (exported, trained) in FILES.items():
        if runtime == "onnxruntime":
            session = Session(Path(exported), threads=threads, device="cpu")
            found[name] = lambda session=session: session.run(low.numpy())
        else:
            net = OnnxNet(cards.load(Path(trained))[0])
            found[name] = lambda net=net: net(low)
    return found


def main() -> None:
    """Measure each runtime at one thread and at two; the headline is ONNX Runtime at one, where nothing spins."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=192, help="low-resolution pixels a side (default: 192)")
    parser.add_argument("--rounds", type=int, default=21, help="timed runs of each net (default: 21)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="CPU threads (default: 1 2)")
    options = parser.parse_args()
    low = torch.rand(1, 3, options.size, options.size, generator=seeds.generator(0, "runtime"))
    rows = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        for runtime in ("onnxruntime", "torch"):
            with torch.inference_mode():
                seconds = table.interleaved(contestants(runtime, low, threads), options.rounds)
            ratio = statistics.median(seconds["pruned"]) / statistics.median(seconds["dual"])
            for name, taken in seconds.items():
                row = {"runtime": runtime, "threads": threads, "model": name, **table.spread(taken)}
                rows.append({**row, "over_dual": round(ratio, 4) if name == "pruned" else 1.0})
    headline = next(row["over_dual"] for row in rows if row["runtime"] == "onnxruntime" and row["model"] == "pruned")
    table.report("runtime", rows, threads=options.threads[0], pruned_over_dual=headline, size=options.size)


if __name__ == "__main__":
    table.run(main)

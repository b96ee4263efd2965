"""What the family's members cost and what they are worth: PSNR over parameters, multiply-adds and ONNX Runtime's time.

python -m benchmarks.family            needs `make repro` before; draws benchmarks/results/family.png
"""

import argparse
import json
import statistics
from pathlib import Path

import torch

from benchmarks import table
from srfoundry.core import seeds
from srfoundry.networks.zoo.family import CLEAN
from srfoundry.reporting.compression import family_picture
from srfoundry.runtime.session import Session


def main() -> None:
    """Time all members in turns; quality and counts are the evaluation's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=192, help="low-resolution pixels a side (default: 192)")
    parser.add_argument("--rounds", type=int, default=21, help="timed runs of each net (default: 21)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1, where nothing spins)")
    options = parser.parse_args()
    figures = json.loads(Path("results/evaluate/metrics.json").read_text())
    low = torch.rand(1, 3, options.size, options.size, generator=seeds.generator(0, "family")).numpy()
    sessions = {name: Session(Path(f"exports/{name}.onnx"), threads=options.threads, device="cpu") for name in CLEAN}
    calls = {name: (lambda session=session: session.run(low)) for name, session in sessions.items()}
    seconds = table.interleaved(calls, options.rounds)
    milliseconds = {name: 1e3 * statistics.median(taken) for name, taken in seconds.items()}
    psnr = {name: figures["bicubic"][name]["psnr_y"] for name in CLEAN}
    costs = {
        "parameters, K": {name: figures["parameters"][name] / 1e3 for name in CLEAN},
        "multiply-adds at 96x96, G": {name: figures["macs_96x96"][name] / 1e9 for name in CLEAN},
        f"ONNX Runtime, {options.size}x{options.size}, ms": milliseconds,
    }
    rows = [
        {
            "member": name,
            "parameters": figures["parameters"][name],
            "macs_96x96": figures["macs_96x96"][name],
            "psnr_y": psnr[name],
            **table.spread(seconds[name]),
            "over_dual": round(milliseconds[name] / milliseconds["dual"], 4),
        }
        for name in CLEAN
    ]
    family_picture(table.RESULTS / "family.png", psnr, costs)
    ratios = {f"latency_ratio_{share}": row["over_dual"] for share, row in zip((30, 50, 70), rows[1:], strict=True)}
    table.report("family", rows, threads=options.threads, size=options.size, **ratios)


if __name__ == "__main__":
    table.run(main)

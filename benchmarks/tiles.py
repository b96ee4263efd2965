"""Does a smaller model save its time in `upscale`, what do tiles cost and show, and what does a small image take?

python -m benchmarks.tiles              needs `make repro` before
python -m benchmarks.tiles --dense exports/dual.onnx --member exports/pruned70.onnx
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks import table
from srfoundry.core.errors import FoundryError
from srfoundry.imaging import images, metrics, resize, tiling
from srfoundry.runtime.session import Session

DENSE, MEMBER = Path("exports/dual.onnx"), Path("exports/pruned70.onnx")
SIDES = (257, 512, 1024)
PEAK = """
import sys
from srfoundry.cli.program import main
status = main(sys.argv[1:])
line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(line.split()[1]) // 1024, file=sys.stderr)
sys.exit(status)
"""  # not getrusage, whose peak starts at that of the process which started this one


def photograph(height: int, width: int) -> torch.Tensor:
    """A low-resolution photograph of this size: a bundled one, mirrored until it covers the size."""
    image = resize.cubic(images.read(next(path for path in images.bundled() if path.stem == "rocket")), 0.5)
    rows = torch.cat([image, image.flip(2)], dim=2).repeat(1, 1, -(-height // (2 * image.shape[2])), 1)
    whole = torch.cat([rows, rows.flip(3)], dim=3).repeat(1, 1, 1, -(-width // (2 * rows.shape[3])))
    return whole[..., :height, :width].clamp(0, 1).contiguous()


def program(picture: Path, model: Path, result: Path, threads: int = 1) -> tuple[float, int]:
    """Seconds and peak MiB of `srfoundry upscale` in a process of its own, start-up, reading and writing included."""
    arguments = ["upscale", str(picture), "--out", str(result), "--model", str(model), "--threads", str(threads)]
    began = time.perf_counter()
    command = [sys.executable, "-c", PEAK, *arguments, "--device", "cpu", "--overwrite"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    taken = time.perf_counter() - began
    if done.returncode:
        raise FoundryError(f"upscale failed with {model}: {done.stderr.strip()[-300:]}; is it a model of this house?")
    return taken, int(done.stderr.split()[-1])


def figures(dense: Path = DENSE, member: Path = MEMBER, rounds: int = 3) -> dict[str, Any]:
    """What tiles leave of a member's saving, and how many pixels are computed for one that is needed.

    Args:
        dense: the .onnx file of the network that was compressed.
        member: that of the 70 % member.
        rounds: of `upscale` on 1024x1024 pixels with one thread, in turns; the medians count.
    """
    found: dict[str, Any] = {}
    with TemporaryDirectory() as scratch:
        picture = Path(scratch) / "low.png"
        images.write(photograph(1024, 1024), picture)
        calls = {
            path.stem: partial(program, picture, path, Path(scratch) / f"{path.stem}.png") for path in (dense, member)
        }
        seconds = table.interleaved(calls, rounds, warm_up=0)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    found["upscale_ratio_70"] = round(medians[member.stem] / medians[dense.stem], 4)
    found["upscale_seconds"] = {name: round(taken, 2) for name, taken in medians.items()}
    cards = [Session(path, threads=1, device="cpu").card for path in (dense, member)]
    for side in SIDES:
        computed = max(tiling.fit(side, side, card.tile, card.overlap).computed for card in cards)
        found[f"tile_overhead_{side}"] = round(computed / side**2, 4)
    return found


def rows(model: Path, sizes: Sequence[tuple[int, int]], threads: int) -> list[dict[str, Any]]:
    """For each size: tiles, seconds and memory of `upscale`, and how far the result is from the whole image's."""
    session = Session(model, threads=threads, device="cpu")
    card, made = session.card, []
    with TemporaryDirectory() as scratch:
        picture = Path(scratch) / "low.png"
        for height, width in sizes:
            low = photograph(height, width)
            images.write(low, picture)
            seconds, peak = program(picture, model, Path(scratch) / "high.png", threads)
            grid = tiling.fit(height, width, card.tile, card.overlap)
            row = {
                "size": f"{height}x{width}",
                "tiles": f"{len(grid.rows)}x{len(grid.columns)}",
                "computed": round(grid.computed / (height * width), 3),
                "seconds": round(seconds, 2),
                "peak_MiB": peak,
            }
            if height * width <= 512 * 768:  # the whole image at once takes gigabytes beyond
                tiled = tiling.tiled(session.run, low.numpy(), session.scale, tile=card.tile, overlap=card.overlap)
                whole = session.run(low.numpy())
                row["max_abs"] = round(float(np.abs(tiled - whole).max()), 5)
                psnr = metrics.psnr_y(torch.from_numpy(tiled), torch.from_numpy(whole), 0)
                row["psnr_y_to_whole"] = round(min(psnr, 999.0), 2)
            made.append(row)
    return made


def main() -> None:
    """Measure the ratio and the overheads, then a few sizes with the member."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dense", type=Path, default=DENSE, help="default: %(default)s")
    parser.add_argument("--member", type=Path, default=MEMBER, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="timed runs of each (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of the table below (default: %(default)s)")
    options = parser.parse_args()
    sizes = [(64, 64), (257, 257), (427, 640), (1024, 1024), (1000, 1500)]
    measured = rows(options.member, sizes, options.threads)
    table.report("tiles", measured, threads=options.threads, **figures(options.dense, options.member, options.rounds))


if __name__ == "__main__":
    table.run(main)

"""Do tiles bound memory, and do they show? Peak memory for a large image, and the difference from the whole image.

python -m benchmarks.tiles              needs `make repro` before
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks import table
from srfoundry.deployment.session import Session
from srfoundry.imaging import images, metrics, resize, tiling

MODEL = Path("exports/pruned.onnx")


def photograph(height: int, width: int) -> torch.Tensor:
    """A low-resolution photograph of this size: a bundled one, mirrored until it covers the size."""
    image = resize.cubic(images.read(next(path for path in images.bundled() if path.stem == "rocket")), 0.5)
    rows = torch.cat([image, image.flip(2)], dim=2).repeat(1, 1, -(-height // (2 * image.shape[2])), 1)
    whole = torch.cat([rows, rows.flip(3)], dim=3).repeat(1, 1, 1, -(-width // (2 * rows.shape[3])))
    return whole[..., :height, :width].clamp(0, 1).contiguous()


def alone(height: int, width: int, tile: int, threads: int) -> None:
    """Enlarge once and print seconds and this process's peak memory in MiB: run in a process of its own."""
    session = Session(MODEL, threads=threads, device="cpu")
    low = photograph(height, width)
    began = time.perf_counter()
    tiling.tiled_uint8(session.run, low, session.scale, tile=tile, overlap=session.card.overlap)
    # Not getrusage: its peak starts at that of the process which started this one.
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    peak = int(line.split()[1]) / 1024
    sys.stdout.write(f"{time.perf_counter() - began} {peak}\n")


def main() -> None:
    """Measure each tile size on a large image, for memory and time, and on a photograph, for faithfulness."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=[1000, 1500], help="large image (default: 1000 1500)")
    parser.add_argument("--tiles", type=int, nargs="+", default=[128, 256], help="default: 128 256")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    height, width = options.size
    if options.alone:
        return alone(height, width, options.alone, options.threads)
    session = Session(MODEL, threads=options.threads, device="cpu")
    low = photograph(427, 640)
    whole = session.run(low)
    rows = []
    for tile in options.tiles:
        command = [sys.executable, "-m", "benchmarks.tiles", "--alone", str(tile), "--threads", str(options.threads)]
        done = subprocess.run([*command, "--size", str(height), str(width)], capture_output=True, text=True, check=True)
        seconds, peak = (float(part) for part in done.stdout.split())
        tiled = tiling.tiled(session.run, low, session.scale, tile=tile, overlap=session.card.overlap)
        rows.append(
            {
                "tile": tile,
                "seconds": round(seconds, 1),
                "peak_MiB": round(peak),
                "max_abs": round(float((tiled - whole).abs().max()), 5),
                "psnr_y_to_whole": round(min(metrics.psnr_y(tiled, whole, 0), 999.0), 2),
            }
        )
    megapixels = session.scale**2 * height * width / 1e6
    table.report("tiles", rows, threads=options.threads, megapixels=megapixels, overlap=session.card.overlap)
    return None


if __name__ == "__main__":
    table.run(main)

"""How good is zero-shot adaptation? The table of MZSR's paper, x2, with the pipeline's own nets.

python -m benchmarks.mzsr --data ../shared/data --sets Set5        needs `make repro` before, and the test sets

PSNR and SSIM on whole Y, border of 2 cropped, low-resolution images of 8 bits, means over a set: the paper's protocol.
g_ani is (4, 1, -0.5) on Set5 and Set14 and (5, 1, -0.5) on BSD100, as in the paper's own cells.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import _exactness, table
from srfoundry import adaptation, checkpoint, metrics, resize
from srfoundry.networks.units import channels_last
from srfoundry.progress import track

SCALE = 2
PAPER = {  # MZSR (CVPR 2020), PSNR of one and of ten steps with the true kernel
    "Set5": {"g02": (33.14, 33.74), "g20": (35.20, 36.05), "ani": (34.05, 34.78), "b13": (35.18, 36.64)},
    "BSD100": {"g02": (28.74, 29.03), "g20": (30.58, 31.09), "ani": (28.82, 29.54), "b13": (29.02, 31.25)},
}


def cell(name: str, kernel: str) -> tuple[float, float, float, Any]:
    """Variances, angle and decimation of a kernel of the table, on a test set."""
    ani = "gani_51" if name == "BSD100" else "gani_41"
    found = _exactness.CELLS[{"g02": "g0.2d", "g20": "g2.0d", "ani": ani, "b13": "g1.3b"}[kernel]]
    assert found is not None
    return found


def restored(nets: dict[str, Any], low: Tensor, kernel: Tensor, decimation: Any, rates: list[float]) -> Iterator[Any]:
    """Yield every method's name and image."""
    yield "bicubic", resize.cubic(low, SCALE)
    for name, net in nets.items():
        yield f"{name}0", adaptation.restore(net, low, SCALE)
        weights = None
        for steps in (1, len(rates)):
            taken = rates[:1] if steps == 1 else rates[1:]
            weights, _ = adaptation.adapt(net, low, kernel, SCALE, rates=taken, weights=weights, decimation=decimation)
            yield f"{name}{steps}_true", adaptation.restore(net, low, SCALE, weights=weights)


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="default: %(default)s")
    parser.add_argument("--sets", nargs="+", default=["Set5", "BSD100"], help="folders below DATA/test")
    parser.add_argument("--kernels", nargs="+", default=["g02", "g20", "ani", "b13"])
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the two checkpoints")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    files = {"mzsr": options.models / "metatrain.safetensors", "finetune": options.models / "pretrain.safetensors"}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    nets = {name: channels_last(checkpoint.load(path)[0], device) for name, path in files.items()}
    rates = checkpoint.read_card(files["mzsr"]).metrics["rates"]
    figures: dict[str, dict[str, float]] = {}
    rows = []
    for name in options.sets:
        if not (options.data / "test" / name).is_dir():
            sys.stderr.write(f"{name} is left out: no such folder in {options.data}/test (see --data)\n")
            continue
        highs = list(_exactness.photographs(options.data / "test" / name, SCALE))
        for kernel in options.kernels:
            blur = cell(name, kernel)
            taps = _exactness.taps(blur).float().to(device)
            scores: dict[str, list[list[float]]] = {}
            for high in track(highs, f"{name} {kernel}"):
                low = _exactness.reduced(high, SCALE, blur).float().to(device)
                for method, image in restored(nets, low, taps, blur[3], rates):
                    pair = (image.cpu().double(), high, SCALE)
                    score = [metrics.psnr_y(*pair, whole=True), metrics.ssim_y(*pair, whole=True)]
                    scores.setdefault(method, []).append(score)
            for method, found in scores.items():
                psnr, ssim = np.mean(found, axis=0).round(4).tolist()
                figures[f"{name}.{kernel}.{method}"] = {"psnr_y": psnr, "ssim_y": ssim}
                paper = dict(zip(("mzsr1_true", "mzsr10_true"), PAPER.get(name, {}).get(kernel, ()), strict=False))
                rows.append({"set": name, "kernel": kernel, "method": method, "psnr_y": psnr, "ssim_y": ssim})
                if method in paper:
                    rows[-1] |= {"paper": paper[method], "away_db": round(psnr - paper[method], 2)}
    if rows:
        table.report("mzsr", rows, threads=options.threads, rates=rates, **figures)


if __name__ == "__main__":
    table.run(main)

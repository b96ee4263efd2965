"""How good is zero-shot adaptation? The table of MZSR's paper, x2, with the pipeline's own nets.

python -m benchmarks.mzsr --data ../shared/data --sets Set5        needs `make repro` before, and the test sets
python -m benchmarks.mzsr --sets Set5 --kernels g20 --methods zssr      trained from nothing on each image: minutes
python -m benchmarks.mzsr --kernels b13 --bicubic-models FOLDER         of preset laptop_bicubic, as the paper has it

PSNR and SSIM on whole Y, border of 2 cropped, low-resolution images of 8 bits, means over a set: the paper's protocol.
What is slow (SSIM, finetune, estimated, zssr) is only measured on sets of at most 20 images.
g_ani is (4, 1, -0.5) on Set5 and Set14 and (5, 1, -0.5) on BSD100, as in the paper's own cells. `linear` is the filter
of the true kernel without any network (linear_enlargement.py), mzsrN are N steps from the meta-trained net, finetuneN
from the pretrained one with steps of 0.01. mzsr10_closed is mzsr10_true back-projected once, mzsr10_estimated has the
kernel that is estimated from the image; narrow and wide are kernels whose variances are wrong by a quarter, and the
program is told so. over_zero_db and worst_db compare with no steps, on the mean and on the worst image. Seconds are
those of one image, adaptation and restoration; of mzsr10_closed those of the back-projection alone. Results are added
to those of earlier runs, unless --images leaves some out.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import _adaptation, _exactness, table
from srfoundry.config import params
from srfoundry.core.compute import channels_last
from srfoundry.core.progress import track
from srfoundry.degradation import back_projection, linear_enlargement
from srfoundry.degradation.kernel_width import move_width
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.evaluation.trials import FINE_TUNING
from srfoundry.imaging import metrics, resize
from srfoundry.networks.zoo import cards
from srfoundry.restoration.kernel_estimation import KernelEstimation
from srfoundry.zero_shot import zssr
from srfoundry.zero_shot.adaptation import adapt
from srfoundry.zero_shot.recipe import Recipe
from srfoundry.zero_shot.restoration import restore

SCALE = 2
PAPER = {  # MZSR (CVPR 2020), PSNR of one and of ten steps with the true kernel
    "Set5": {"g02": (33.14, 33.74), "g20": (35.20, 36.05), "ani": (34.05, 34.78), "b13": (35.18, 36.64)},
    "BSD100": {"g02": (28.74, 29.03), "g20": (30.58, 31.09), "ani": (28.82, 29.54), "b13": (29.02, 31.25)},
}
MORE = ["linear", "closed", "estimated", "quarter", "zssr"]
FEW = 20  # images of a set that is small enough for what is slow, SSIM among it
SLOW = ("finetune", "estimated", "narrow", "wide", "zssr")
OVER_FINETUNE = ("g20", "ani", "b13")  # the blurs for which meta-training is; g02 is outside its kernels


def cell(name: str, kernel: str) -> tuple[float, float, float, Any]:
    """Variances, angle and decimation of a kernel of the table, on a test set."""
    ani = "gani_51" if name == "BSD100" else "gani_41"
    found = _exactness.CELLS[{"g02": "g0.2d", "g20": "g2.0d", "ani": ani, "b13": "g1.3b"}[kernel]]
    assert found is not None
    return found


@dataclass(frozen=True)
class Case:
    """One low-resolution image, and what made it."""

    low: Tensor
    kernel: Tensor
    decimation: Any
    name: str
    wrong: dict[str, Tensor]
    """Kernels whose variances are wrong by a quarter."""

    @property
    def observation(self) -> Observation:
        """With the true kernel."""
        return Observation(self.low, self.kernel, Sampling(SCALE, self.decimation))


def methods(nets: dict[str, nn.Module], recipe: Recipe, options: Any) -> dict[str, Callable[[Case], Tensor]]:
    """Every method of the table by its name."""
    steps = len(recipe.rates)
    last: dict[str, Any] = {}

    def adapted(net: nn.Module, count: int, observation: Observation) -> Tensor:
        tuned = net is not nets["mzsr"]
        plain = replace(recipe, rates=[FINE_TUNING] * count, descent="plain")
        taken = plain if tuned else recipe.with_steps(count)
        seen = move_width(observation).observation if count else observation
        weights = adapt(net, seen, taken, precision=options.precision).weights
        return restore(net, seen, weights=weights)

    def true(net: nn.Module, count: int, case: Case) -> Tensor:
        last["image"] = adapted(net, count, case.observation)
        return last["image"]

    def closed(case: Case) -> Tensor:  # comes after mzsr10_true of the same image
        return back_projection.close(last["image"], case.observation, steps=1, how="linear")

    def estimated(count: int, case: Case) -> Tensor:
        if last.get("estimated_for") != case.name:
            chosen, device = params.load(options.params), case.low.device
            ready = KernelEstimation.load(chosen, SCALE, case.decimation, device=device, models=options.models)
            kernel = ready.estimate_kernel(case.low, case.name).to(case.low)
            last["estimated_for"], last["seen"] = case.name, Observation(case.low, kernel, ready.sampling)
        return adapted(nets["mzsr"], count, last["seen"])

    def wrong(kind: str, count: int, case: Case) -> Tensor:
        given = replace(case.observation, kernel=case.wrong[kind], kernel_error=_adaptation.ERROR)
        return adapted(nets["mzsr"], count, given)

    def from_nothing(case: Case) -> Tensor:
        net, observation = nets["finetune"], case.observation
        found = zssr.train(net, observation, steps=options.zssr_steps)
        return zssr.ensemble(net, observation, weights=found.weights, close=back_projection.STEPS)

    table_: dict[str, Callable[[Case], Tensor]] = {"bicubic": lambda case: resize.cubic(case.low, SCALE)}
    if "linear" in options.methods:
        table_["linear"] = lambda case: linear_enlargement.enlarge(
            case.low, case.kernel, SCALE, how="linear", decimation=case.decimation
        )
    for count in dict.fromkeys((0, 1, steps)):
        table_[f"mzsr{count}_true"] = lambda case, count=count: true(nets["mzsr"], count, case)
    more = {f"mzsr{steps}_closed": closed, "zssr": from_nothing}
    for count in (0, steps):
        more[f"mzsr{count}_estimated"] = partial(estimated, count)
    table_ |= {name: run for name, run in more.items() if name.rsplit("_", 1)[-1] in options.methods}
    if "quarter" in options.methods:
        table_ |= {
            f"mzsr{count}_{kind}": partial(wrong, kind, count)
            for kind in _adaptation.QUARTER
            for count in dict.fromkeys((0, steps))
        }
    return table_ | {f"finetune{steps}_true": lambda case: true(nets["finetune"], steps, case)}


def cases(highs: list[Tensor], name: str, kernel: str, device: torch.device) -> Iterator[tuple[Tensor, Case]]:
    """The photographs of a set with their low-resolution images."""
    blur = cell(name, kernel)
    taps = _exactness.taps(blur).float().to(device)
    wrong = {
        kind: _exactness.taps((factor * blur[0], factor * blur[1], *blur[2:])).float().to(device)
        for kind, factor in _adaptation.QUARTER.items()
    }
    for index, high in enumerate(track(highs, f"{name} {kernel}")):
        low = _exactness.reduced(high, SCALE, blur).float().to(device)
        yield high, Case(low, taps, blur[3], f"{name} {kernel} {index}", wrong)


def mean_over_finetune(figures: dict[str, float], steps: int) -> dict[str, float]:
    """What meta-training is worth: dB of its last step over the pretrained net's, mean over sets and blurs."""
    gains = [
        figure - figures[key.replace("mzsr", "finetune")]
        for key, figure in figures.items()
        if key.endswith(f".mzsr{steps}_true")
        and key.split(".")[1] in OVER_FINETUNE
        and key.replace("mzsr", "finetune") in figures
    ]
    return {"mean_over_finetune": round(float(np.mean(gains)), 4)} if gains else {}


def contestants(
    models: Path, options: argparse.Namespace, device: torch.device
) -> tuple[Recipe, dict[str, Callable[[Case], Tensor]]]:
    """How the nets of a folder want to be adapted, and every method with them."""
    files = {"mzsr": models / "metatrain.safetensors", "finetune": models / "pretrain.safetensors"}
    nets = {name: channels_last(cards.load(path)[0], device) for name, path in files.items()}
    recipe = Recipe.from_card(cards.read_card(files["mzsr"]).metrics)
    return recipe, methods(nets, recipe, options)


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="default: %(default)s")
    parser.add_argument("--sets", nargs="+", default=["Set5", "BSD100"], help="folders below DATA/test")
    parser.add_argument("--kernels", nargs="+", default=["g02", "g20", "ani", "b13"])
    parser.add_argument(
        "--methods", nargs="+", choices=MORE, default=MORE[:4], help="in addition (default: all but zssr)"
    )
    parser.add_argument("--images", type=int, help="only so many of each set (default: all)")
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the two checkpoints")
    parser.add_argument(
        "--bicubic-models", type=Path, help="folder of those for b13, where they are others (default: MODELS)"
    )
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="for `estimated`")
    parser.add_argument("--zssr-steps", type=int, default=3000, help="at most (default: %(default)s)")
    parser.add_argument(
        "--precision",
        default="auto",
        choices=["auto", "float32", "bfloat16"],
        help="of the adaptation: auto, float32, bfloat16 (default: auto)",
    )
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipe, direct = contestants(options.models, options, device)
    bicubic = contestants(options.bicubic_models, options, device)[1] if options.bicubic_models else direct
    found = 0
    path = table.RESULTS / "mzsr.json"
    kept = json.loads(path.read_text())["rows"] if path.exists() and options.images is None else []
    rows = {(row["set"], row["kernel"], row["method"]): row for row in kept}
    for name in options.sets:
        if not (options.data / "test" / name).is_dir():
            sys.stderr.write(f"{name} is left out: no such folder in {options.data}/test (see --data)\n")
            continue
        highs = list(_exactness.photographs(options.data / "test" / name, SCALE))[: options.images]
        for kernel in options.kernels:
            scores: dict[str, list[list[float]]] = {}
            for high, case in cases(highs, name, kernel, device):
                for method, run in (direct if case.decimation == "direct" else bicubic).items():
                    if len(highs) > FEW and any(word in method for word in SLOW):
                        continue
                    began = time.perf_counter()
                    image = run(case).cpu().double()
                    taken = time.perf_counter() - began
                    pair = (image, high, SCALE)
                    ssim = metrics.ssim_y(*pair, whole=True) if len(highs) <= FEW else math.nan
                    score = [metrics.psnr_y(*pair, whole=True), ssim, taken]
                    scores.setdefault(method, []).append(score)
            paper = dict(zip(("mzsr1_true", "mzsr10_true"), PAPER.get(name, {}).get(kernel, ()), strict=False))
            gains = _adaptation.over_zero({method: [one[0] for one in each] for method, each in scores.items()})
            for method, each in scores.items():
                psnr, ssim, seconds = np.mean(each, axis=0).round(4).tolist()
                row: dict[str, Any] = {"set": name, "kernel": kernel, "method": method, "psnr_y": psnr}
                row |= {"s": seconds} if math.isnan(ssim) else {"ssim_y": ssim, "s": seconds}
                row |= gains.get(method, {})
                if method in paper:
                    row |= {"paper": paper[method], "away_db": round(psnr - paper[method], 2)}
                rows[name, kernel, method] = row
                found += 1
    if found:
        figures = {".".join(key): row["psnr_y"] for key, row in rows.items()}
        gain = mean_over_finetune(figures, len(recipe.rates))
        gain |= _adaptation.figures(rows.values(), len(recipe.rates))
        table.report("mzsr", list(rows.values()), threads=options.threads, **recipe.to_card(), **gain, **figures)


if __name__ == "__main__":
    table.run(main)

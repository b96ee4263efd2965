"""What is a diffusion prior worth? Diff-DKP beside DIP-DKP and the true kernel, on images that `auto` was measured on.

    python -m benchmarks.diffusion --patches SET --train    the prior alone (hours on a CPU); the next call goes on
    python -m benchmarks.diffusion --patches SET --restorer ../shared/data/weights/usrnet_tiny.pth

The prior is the stage diffuse's network and training on the photographs of SET, kept in runs/diffusion. Images: the
tests Set5_x2 (FKP's Gaussians) and Set5_x2_motion (Levin's kernels) of `benchmarks.blind`, which keeps the figures of
other methods in blind.json. The non-blind network restores with each method's kernel.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import table
from benchmarks._blind_cases import Case, moved, periodic, prior, stored
from benchmarks._blind_networks import folder_of, nonblind_of
from benchmarks._blind_products import MOTION
from srfoundry.blind.diffusion.denoiser import Denoiser
from srfoundry.blind.diffusion.diff_dkp import estimate_kernel_by_diffusion
from srfoundry.blind.diffusion.training import train_denoiser, validate_denoiser
from srfoundry.blind.diffusion.unet import load_denoiser, make_unet, save_unet
from srfoundry.blind.dkp.dkp import estimate_by_dkp
from srfoundry.blind.nonblind_pairs import SharpPatches
from srfoundry.blind.settings import Estimation
from srfoundry.config import yaml_files
from srfoundry.config.params import check, load
from srfoundry.core.compute import Compute
from srfoundry.core.progress import track
from srfoundry.core.seeds import Stream, generator
from srfoundry.core.state import Resumption
from srfoundry.degradation import conventions
from srfoundry.degradation.observation import Sampling
from srfoundry.imaging.patches import Patches

RUNS = Path("runs/diffusion")
LEVELS = (0.02, 0.05, 0.1, 0.2)  # noise that the prior is judged at, standard deviations, image range [0, 1]
SHAKES = "trajectory"  # the family of random kernels for motion
FIGURES = ("psnr_y", "gain", "worst_gain", "kernel_psnr", "s")
CPU = torch.device("cpu")
Method = Callable[[Case], Tensor]  # a kernel of DKP's convention, by the image alone


def main() -> None:
    """Train, then fill the table."""
    options = _options()
    torch.set_num_threads(options.threads)
    folder = prior_of(options)
    if options.train:
        return
    net, denoiser = nonblind_of(folder_of(options.restorer, "")), load_denoiser(folder)
    judges = validate_denoiser(denoiser, Patches.open(options.judges), levels=LEVELS, seed=options.seed, device=CPU)
    rows = []
    for test, cases in (("Set5_x2", stored(options.data, 2)), ("Set5_x2_motion", moved(options.data))):
        known = list(cases)[: options.images]
        for name, method in _methods(test, options, denoiser).items():
            scores = [_score(case, method, net) for case in track(known, f"{test} {name}")]
            rows.append({"test": test, "method": name, **_row(scores)})
            sys.stdout.write(f"{rows[-1]}\n")
            sys.stdout.flush()
    figures = {f"{row['test']}.{row['method']}.{key}": row[key] for row in rows for key in FIGURES}
    figures |= {f"denoising.{level}": psnr for level, psnr in judges.items()}
    table.report("diffusion", rows, threads=options.threads, steps=options.steps, batch=options.batch, **figures)


def prior_of(options: argparse.Namespace) -> Path:
    """The folder of the trained model: found, or trained now."""
    folder, chosen = RUNS / f"{options.steps}x{options.batch}", load(options.params).diffuse
    if not folder.exists():
        stream, draw = Stream(options.seed, "diffuse"), replace(chosen.draw, batch=options.batch)
        net = make_unet(patch=draw.patch, widths=chosen.widths, rng=stream.rng("net"))
        RUNS.mkdir(parents=True, exist_ok=True)
        train_denoiser(
            net,
            SharpPatches(Patches.open(options.patches), draw),
            replace(chosen.descent, steps=options.steps),
            compute=Compute(CPU, "auto"),
            stream=stream,
            resumption=Resumption(folder.with_suffix(".pt"), f"{options.steps} {options.batch} {options.seed}"),
        )
        save_unet(folder, net)
    return folder


def _methods(test: str, options: argparse.Namespace, denoiser: Denoiser) -> dict[str, Method]:
    """The true kernel, and DKP with its two image priors."""
    motion = test.endswith("motion")
    settings, sampler = _settings(options.params, motion), load(options.params).diffuse.sampler

    def shaped(case: Case) -> Estimation:
        size = settings.prior.kernel_size if motion else prior(case.scale).size
        return replace(settings, prior=replace(settings.prior, kernel_size=size))

    def placed(case: Case, kernel: Tensor) -> Tensor:
        return conventions.convert(kernel, "mzsr", "dkp", case.scale, keep="blur") if case.phase else kernel

    def diff_dkp(case: Case) -> Tensor:
        sampling, rng = Sampling(case.scale, border="circular"), generator(options.seed, "diff-dkp", case.name)
        found = estimate_kernel_by_diffusion(
            case.low, sampling, shaped(case), sampler=sampler, denoiser=denoiser, rng=rng
        )
        return placed(case, found.kernel)

    def dip_dkp(case: Case) -> Tensor:
        rng = generator(options.seed, "dip-dkp", case.name)
        return placed(case, estimate_by_dkp(periodic(case, case.noise), shaped(case), rng=rng).kernel)

    return {"true": lambda case: case.kernel, "dip_dkp": dip_dkp, "diff_dkp": diff_dkp}


def _settings(params: Path, motion: bool) -> Estimation:
    """Those of params.yaml; for motion with the values of params/motion.yaml, and camera shakes."""
    values = yaml_files.read(params)
    if motion:
        values["estimate"] |= yaml_files.read(MOTION)["estimate"] | {"family": SHAKES}
    return check(values, str(params)).estimate.settings


def _score(case: Case, method: Method, net: torch.nn.Module) -> dict[str, float]:
    """PSNR-Y and gains over aligned bicubic in dB, and the seconds of the kernel's estimation."""
    began = time.perf_counter()
    kernel = method(case)
    taken = time.perf_counter() - began
    with torch.inference_mode():
        image = net(case.low, kernel.float(), case.scale, case.noise).clamp(0, 1)
    bicubic, found = case.psnr_y(case.aligned()), case.psnr_y(image)
    return {"psnr_y": found, "gain": found - bicubic, "kernel_psnr": case.kernel_psnr(kernel), "s": taken}


def _row(scores: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Means, and the worst image beside the gain."""
    means = {key: round(statistics.fmean(score[key] for score in scores), 2) for key in scores[0]}
    return {"images": len(scores), **means, "worst_gain": round(min(score["gain"] for score in scores), 2)}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, default=Path("../shared/data"), help="default: %(default)s")
    add("--restorer", type=Path, help="published weights of the non-blind network (.pth), or a project's")
    add("--patches", type=Path, default=Path("data/synthesize/train"), help="photographs (default: %(default)s)")
    add("--judges", type=Path, default=Path("data/synthesize/validation"), help="others (default: %(default)s)")
    add("--params", type=Path, default=Path("params.yaml"), help="network and sampler (default: %(default)s)")
    add("--steps", type=int, default=6000, help="of the prior's training (default: %(default)s)")
    add("--batch", type=int, default=8, help="patches a step (default: %(default)s)")
    add("--seed", type=int, default=1, help="of the training and of kernels drawn (default: %(default)s)")
    add("--train", action="store_true", help="the prior alone")
    add("--images", type=int, help="of each test, the first (default: all)")
    add("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    table.run(main)

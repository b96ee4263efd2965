"""How good is blind restoration? FKP's and DKP's test: unknown Gaussian kernels, Set5 and others.

python -m benchmarks.blind --data ../shared/data --restorer ../shared/data/weights/usrnet_tiny.pth
python -m benchmarks.blind --restorer models/nonblind.safetensors --name own --sets Set5

Set5 is the stored one (low-resolution images and kernels made by the authors' program); other sets are drawn anew by
the same recipe. PSNR on Y with s pixels cropped, kernel PSNR without alignment, images of 8 bits, periodic borders.
`true` is the non-blind network with the true kernel, `fast` with the one that `blind.correct` finds, `dkp` with that of
`blind.dkp`; `mean` is the kernel PSNR of the test distribution's mean kernel, which is no estimate at all. `fast` needs
a corrector that knows the restorer: without --corrector it is trained once (minutes), on the training photographs of
--patches, and kept. Results are added to those of earlier runs: keys SET_xS[_nSIGMA].METHOD.FIGURE.
"""

import argparse
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks import table
from srfoundry.blind.corrector.correction import CorrectionSearch, estimate_kernel_by_corrections
from srfoundry.blind.corrector.samples import collect_samples
from srfoundry.blind.corrector.training import train_corrector
from srfoundry.blind.dkp.dkp import estimate_by_dkp
from srfoundry.blind.dkp.families import GaussianPrior
from srfoundry.blind.dkp.released import Program, run_released_program
from srfoundry.blind.estimate import BlindObservation
from srfoundry.blind.motion_deblur.freeform import find_free_form_kernel
from srfoundry.blind.nonblind_pairs import PairDraw, SharpPatches
from srfoundry.blind.nonblind_restoration import VARIANCES, restore_by_usrnet, trained_size
from srfoundry.blind.nonblind_settings import CorrectorDescent
from srfoundry.config.params import load
from srfoundry.core.compute import Compute, channels_last
from srfoundry.core.progress import track
from srfoundry.core.seeds import Stream, generator
from srfoundry.core.state import Resumption
from srfoundry.degradation import conventions, kernels
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.degradation.operator import degrade
from srfoundry.imaging import decoding, images, metrics, resize
from srfoundry.imaging.patches import Patches
from srfoundry.networks.nonblind.corrector import Corrector
from srfoundry.networks.nonblind.usrnet import USRNet, from_authors
from srfoundry.networks.published_weights import read_foreign
from srfoundry.networks.zoo import cards
from srfoundry.training.settings import PatchDraw

STORED = "golden/blind/inputs_set5_and_c128.npz"
SAMPLES = 12000  # restorations that a corrector learns from
MOTION = 31  # taps a side that motion kernels are looked for in
CPU = torch.device("cpu")
Method = Callable[["Case"], Tensor]  # a kernel of DKP's convention


@dataclass(frozen=True)
class Case:
    """A low-resolution image, and what made it."""

    name: str
    low: Tensor
    high: Tensor
    kernel: Tensor
    scale: int
    noise: float


def prior(scale: int) -> GaussianPrior:
    """The test's kernels, centred where its program has them."""
    low, high = (value * scale for value in VARIANCES)
    return GaussianPrior(trained_size(scale), low, high, conventions.get("dkp").phase(scale))


def stored(data: Path, scale: int) -> Iterator[Case]:
    """Set5 as the authors' program made it."""
    with np.load(data / STORED) as file:
        for name in sorted({key.split("/")[-1] for key in file if key.startswith("Set5/HR/")}):
            low, high = (_image(file[key]) for key in (f"Set5/x{scale}/lr/{name}", f"Set5/HR/{name}"))
            yield Case(name, low, high, torch.from_numpy(file[f"Set5/x{scale}/k/{name}"])[None].float(), scale, 0.0)


def drawn(data: Path, name: str, scale: int, count: int | None) -> Iterator[Case]:
    """The first images of another set, each with a kernel of its own."""
    for path in decoding.find(data / "test" / name)[:count]:
        high = images.read(path)
        high = high[..., : high.shape[-2] // scale * scale, : high.shape[-1] // scale * scale]
        family = prior(scale)
        kernel = family.kernels(family.sample(1, rng=generator(1, "blind", name, path.stem, scale))).float()
        yield Case(path.stem, _eight_bits(degrade(high, kernel, scale, border="circular")), high, kernel, scale, 0.0)


def moved(data: Path) -> Iterator[Case]:
    """Levin's eight motion kernels, centred, on Set5's photographs in turns, x2."""
    with np.load(data / "kernels/levin09_motion.npz") as file:
        taps = [torch.from_numpy(file[key]).float()[None] for key in sorted(file)]
    paths = decoding.find(data / "test/Set5")
    for number, kernel in enumerate(taps):
        high = images.read(paths[number % len(paths)])
        high = high[..., : high.shape[-2] // 2 * 2, : high.shape[-1] // 2 * 2]
        kernel = kernels.centred(torch.nn.functional.pad(kernel, [(MOTION - kernel.shape[-1]) // 2] * 4))
        low = _eight_bits(degrade(high, kernel, 2, border="circular"))
        yield Case(f"{paths[number % len(paths)].stem} {number}", low, high, kernel, 2, 0.0)


def noisy(case: Case, noise: float) -> Case:
    """The same with white noise, in 8 bits."""
    rng = generator(1, "blind noise", case.name, case.scale)
    low = case.low + noise * torch.randn(case.low.shape, generator=rng)
    return Case(case.name, _eight_bits(low), case.high, case.kernel, case.scale, noise)


def contestants(options: argparse.Namespace, restorer: USRNet, corrector: Corrector | None) -> dict[str, Method]:
    """Kernels by method; none of them sees more than the low-resolution image and the scale."""
    settings = load(options.params).estimate.settings

    def fast(case: Case) -> Tensor:
        assert corrector is not None
        search = CorrectionSearch(prior(case.scale).size, VARIANCES, offset=prior(case.scale).offset)
        return estimate_kernel_by_corrections(
            case.low, Sampling(case.scale, border="circular"), search, restorer=restorer, corrector=corrector
        ).kernel

    def dkp(case: Case) -> Tensor:
        size = replace(settings.prior, kernel_size=prior(case.scale).size)
        rng = generator(1, "blind dkp", case.name, case.scale)
        found = estimate_by_dkp(periodic(case, case.noise), replace(settings, prior=size), rng=rng).kernel
        return conventions.convert(found, "mzsr", "dkp", case.scale, keep="blur")

    def free(case: Case) -> Tensor:
        rng = generator(1, "blind free", case.name)
        return find_free_form_kernel(periodic(case, None), MOTION, rng=rng, restore=restorer)

    every: dict[str, Method] = {"true": lambda case: case.kernel, "fast": fast, "dkp": dkp, "free": free}
    return {name: method for name, method in every.items() if name in options.methods}


def periodic(case: Case, noise: float | None) -> BlindObservation:
    """A case without its truth; None leaves the noise to the estimator."""
    return BlindObservation(case.low, Sampling(case.scale, border="circular"), noise)


def scored(case: Case, method: Method, restorer: USRNet) -> tuple[float, float, float]:
    """PSNR-Y, kernel PSNR and seconds of the estimation."""
    began = time.perf_counter()
    kernel = method(case)
    taken = time.perf_counter() - began
    with torch.inference_mode():
        image = restorer(case.low, kernel.float(), case.scale, case.noise).clamp(0, 1)
    high = case.high[..., : image.shape[-2], : image.shape[-1]]
    rim = (kernel.shape[-1] - case.kernel.shape[-1]) // 2
    same = torch.nn.functional.pad(case.kernel, [max(rim, 0)] * 4)
    quality = min(metrics.kernel_psnr(torch.nn.functional.pad(kernel, [max(-rim, 0)] * 4).float(), same), 100.0)
    return metrics.psnr_y(image, high, case.scale), quality, taken


def key_of(patches: Patches, softness: float) -> str:
    """Of what a corrector is trained on: other photographs or values begin anew."""
    names = hashlib.md5("".join(patches.photographs()).encode(), usedforsecurity=False).hexdigest()
    return f"{softness}-{SAMPLES}-{names}"


def trained_corrector(options: argparse.Namespace, restorer: USRNet) -> Corrector | None:
    """The corrector of a restorer: from its file, or trained now and written there."""
    if "fast" not in options.methods:
        return None
    file = options.corrector or Path("runs/blind") / f"corrector_{options.name or 'published'}.safetensors"
    if not file.exists():
        patches, softness = Patches.open(options.patches), load(options.params).nonblind.collection.photograph_softness
        key = key_of(patches, softness)
        stream, drawn = Stream(1, "blind"), SharpPatches(patches, PatchDraw(patch=96, octave=0.5, batch=8))
        samples = collect_samples(
            restorer,
            PairDraw(drawn, noise=0.04, softness=softness),
            samples=SAMPLES,
            scales=(2, 3, 4),
            variances=VARIANCES,
            compute=Compute(CPU, "auto"),
            stream=stream,
            resumption=Resumption(file.with_suffix(".samples.pt"), key),
        )
        corrector, along = Corrector(), CorrectorDescent(steps=4000, rate=2e-3)
        train_corrector(corrector, samples, along, stream=stream, resumption=Resumption(file.with_suffix(".pt"), key))
        cards.save(file, corrector, arch={"name": "corrector"}, scale=2, made_by="benchmark", params_hash="0" * 16)
    corrector = cards.load(file)[0]
    assert isinstance(corrector, Corrector)
    return corrector


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="default: %(default)s")
    parser.add_argument("--restorer", type=Path, required=True, help="published weights (.pth) or ours (.safetensors)")
    parser.add_argument("--name", default="", help="put before `true` and `fast` in the keys: own_fast")
    parser.add_argument("--corrector", type=Path, help="default: runs/blind/corrector_NAME.safetensors")
    parser.add_argument("--patches", type=Path, default=Path("data/synthesize/train"), help="default: %(default)s")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="for dkp, and softness")
    parser.add_argument("--sets", nargs="*", default=["Set5", "Set14", "BSD100"], help="or motion; none")
    parser.add_argument("--images", type=int, default=10, help="of each set but Set5 (default: 10)")
    parser.add_argument("--scales", nargs="+", type=int, default=[2, 3, 4])
    parser.add_argument("--noise", nargs="+", type=int, default=[0, 2, 5], help="of 255; of Set5 alone")
    parser.add_argument(
        "--methods", nargs="+", choices=["true", "fast", "dkp", "free"], default=["true", "fast", "dkp"]
    )
    parser.add_argument("--borders", action="store_true", help="of photographs against their interior, BSD100")
    parser.add_argument("--race", action="store_true", help="against DKP's released program, one image, ten minutes")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    restorer = _restorer(options.restorer)
    runs = contestants(options, restorer, trained_corrector(options, restorer))
    path = table.RESULTS / "blind.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    rows = {(row["set"], row["method"]): row for row in kept.pop("rows", [])}
    figures = {key: value for key, value in kept.items() if key != "machine"}
    for test, cases in tests(options):
        found: dict[str, list[tuple[float, float, float]]] = {}
        for case in track(cases, test):
            bicubic = metrics.psnr_y(resize.cubic(case.low, case.scale).clamp(0, 1), case.high, case.scale)
            mean = prior(case.scale).mean().float()
            known = mean.shape == case.kernel.shape
            found.setdefault("bicubic", []).append(
                (bicubic, metrics.kernel_psnr(mean, case.kernel) if known else math.nan, 0.0)
            )
            for method, run in runs.items():
                own = options.name and method != "dkp"
                label = f"{options.name}_{method}" if own else method
                found.setdefault(label, []).append(scored(case, run, restorer))
        for method, scores in found.items():
            psnr, quality, seconds = np.mean(scores, axis=0).round(3).tolist()
            rows[test, method] = {"set": test, "method": method, "psnr_y": psnr, "kernel_psnr": quality, "s": seconds}
            figures[f"{test}.{method}.psnr_y"] = psnr
            figures[f"{test}.{method}.seconds"] = seconds
            if not math.isnan(quality):
                figures[f"{test}.{'mean' if method == 'bicubic' else method}.kernel_psnr"] = quality
        table.report("blind", list(rows.values()), threads=options.threads, **figures)
    if options.borders:
        figures |= borders(options.data, restorer)
        table.report("blind", list(rows.values()), threads=options.threads, **figures)
    if options.race:
        figures |= race(options.data, runs["fast"], restorer)
        table.report("blind", list(rows.values()), threads=options.threads, **figures)


def borders(data: Path, restorer: USRNet) -> dict[str, float]:
    """How much worse a photograph's border is than its interior, in dB, where nothing is known of what lies outside.

    Windows of 63x57 low-resolution pixels out of larger images (x8: whole images, mirrored), in colour and grey.
    """
    found: dict[str, float] = {}
    for scale in (2, 4, 8):
        for grey in (False, True):
            worse = []
            for path in decoding.find(data / "test/BSD100")[:20]:
                high = images.read(path)
                high = high.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1) if grey else high
                high = high[..., : high.shape[-2] // scale * scale, : high.shape[-1] // scale * scale]
                widths = torch.tensor([[1.2 * scale], [0.8 * scale], [0.5]], dtype=torch.float64)
                kernel = kernels.gaussian(trained_size(scale), *widths).float()
                low = _eight_bits(degrade(high, kernel, scale))
                tall, wide = min(63, low.shape[-2]), min(57, low.shape[-1])
                top, left = (low.shape[-2] - tall) // 2, (low.shape[-1] - wide) // 2
                seen = low[..., top : top + tall, left : left + wide]
                true = high[..., scale * top : scale * (top + tall), scale * left : scale * (left + wide)]
                error = (
                    (restore_by_usrnet(restorer, Observation(seen, kernel, Sampling(scale))) - true)
                    .square()
                    .mean(dim=1)[0]
                )
                inside = torch.zeros_like(error, dtype=torch.bool)
                rim = 4 * scale
                inside[rim:-rim, rim:-rim] = True
                worse.append(10 * torch.log10(error[~inside].mean() / error[inside].mean()))
            found[f"border_x{scale}{'_grey' if grey else ''}_db"] = round(float(torch.stack(worse).mean()), 2)
    return found


def tests(options: argparse.Namespace) -> Iterator[tuple[str, list[Case]]]:
    """The test sets by name, each with its images."""
    for name in options.sets:
        if name == "motion":
            yield "Set5_x2_motion", list(moved(options.data))
            continue
        for scale in options.scales:
            if name != "Set5":
                yield f"{name}_x{scale}", list(drawn(options.data, name, scale, options.images))
                continue
            clean = list(stored(options.data, scale))
            for level in options.noise:
                yield (
                    f"Set5_x{scale}" + (f"_n{level}" if level else ""),
                    [noisy(case, level / 255) if level else case for case in clean],
                )


def race(data: Path, fast: Method, restorer: USRNet) -> dict[str, float]:
    """Seconds of DKP's released program on Set5's butterfly, x4, and of `fast` with its restoration."""
    case = next(case for case in stored(data, 4) if case.name == "butterfly")
    began = time.perf_counter()
    psnr, _, _ = scored(case, fast, restorer)
    ours = time.perf_counter() - began
    began = time.perf_counter()
    found = run_released_program(periodic(case, None), Program())
    theirs = time.perf_counter() - began
    assert found.restored is not None
    reached = metrics.psnr_y(found.restored, case.high, 4)
    return {
        "released.butterfly_x4.psnr_y": round(reached, 3),
        "released.butterfly_x4.kernel_psnr": round(metrics.kernel_psnr(found.kernel, case.kernel), 3),
        "released.butterfly_x4.seconds": round(theirs, 1),
        "fast.butterfly_x4.psnr_y": round(psnr, 3),
        "fast.butterfly_x4.seconds": round(ours, 2),
        "time_to_released": round(ours / theirs, 5) if psnr >= reached else math.inf,
    }


def _restorer(path: Path) -> USRNet:
    net = from_authors(read_foreign(path)) if path.suffix == ".pth" else cards.load(path)[0]
    assert isinstance(net, USRNet)
    return channels_last(net.eval(), CPU)


def _image(pixels: "np.ndarray") -> Tensor:
    return images.from_uint8(torch.from_numpy(pixels)[None])


def _eight_bits(image: Tensor) -> Tensor:
    return images.from_uint8(images.to_uint8(image))


if __name__ == "__main__":
    table.run(main)

"""How good is blind restoration? Every kind of blur and of none, as users meet them, and FKP's and DKP's test.

python -m benchmarks.blind --data ../shared/data --restorer ../shared/data/weights/usrnet_tiny.pth
python -m benchmarks.blind --restorer models/nonblind.safetensors --name own --sets Set5
python -m benchmarks.blind --restorer models/metatrain.safetensors --name mzsr --classes gaussian_n5 --methods true auto

Classes: those of `_blind_classes` (restored by the product, `_blind_products`); `fkp`, unknown Gaussians with periodic
borders; `motion`, Levin's eight kernels. Of the last two, `true`, `fast`, `free` and `dkp` are kernels, and the
non-blind network restores with them: PSNR on Y with s pixels cropped, kernel PSNR without alignment. Gains are over
bicubic on the original's grid. `fast` and `auto` need a corrector that knows the restorer, and `auto` a classifier: for
published weights they are trained once (minutes), on the photographs of --patches, and kept in runs/blind. Results are
added to those of earlier runs: keys SET_xS_CLASS.METHOD.FIGURE (SET_xS[_nSIGMA] of fkp), made_worse_share,
auto_below_best, seconds_256.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks import _blind_fkp, table
from benchmarks._blind_borders import borders
from benchmarks._blind_cases import Case, photographs
from benchmarks._blind_classes import SORTS, Degraded, each
from benchmarks._blind_networks import (
    corrector_of,
    folder_of,
    nonblind_of,
    prepare_classifier,
    prepare_fusion,
    prepare_kernel_step,
)
from benchmarks._blind_products import Products
from benchmarks._blind_scores import Score, Scores
from srfoundry.core.progress import track

WIDE = ("line", "shake", "bicubic", "area")  # classes that are tested at x4, too
METHODS = ("true", "fast", "free", "unfolded", "dkp", "mlmc", "known", "auto")
TIMED = ("bicubic", "gaussian", "gaussian_n5", "shake")  # classes of seconds_256
SIDE, ROUNDS = 256, 3  # low-resolution pixels of its image, and times that each is restored


def main() -> None:
    """Fill the table."""
    options = _options()
    torch.set_num_threads(options.threads)
    folder = folder_of(options.restorer, options.name)
    net = nonblind_of(folder)
    needs = {"fast", "auto", *(("fast",) if options.race else ())} & {*options.methods}
    corrector = corrector_of(folder, net, photographs=options.patches, params=options.params) if needs else None
    if {"auto", "known"} & {*options.methods} and options.restorer.suffix == ".pth":
        prepare_classifier(folder, photographs=options.patches, params=options.params)
        prepare_kernel_step(folder, photographs=options.patches, params=options.params)
        prepare_fusion(folder, photographs=options.patches, params=options.params)
    kernels = _blind_fkp.Kernels(net, corrector, options.params, options.seed)
    model = folder / "nonblind.safetensors" if options.restorer.suffix == ".pth" else options.restorer
    products = Products(model, folder, options.params, Path("runs/blind"))
    scores = Scores.open(options.results / "blind.json", options.seed)
    for test, cases, kind in tests(options):
        for case in track(cases, test):
            _score(options, scores, test, case, kind, kernels, products)
        scores.keep(threads=options.threads)
        _line(scores, test)
    if options.time:
        scores.others |= seconds(options, products)
    if options.borders:
        scores.others |= borders(options.data, net)
    if options.race:
        scores.others |= _blind_fkp.race(options.data, kernels)
    scores.keep(threads=options.threads)


def tests(options: argparse.Namespace) -> Iterator[tuple[str, list[Case] | list[Degraded], str]]:
    """Key, images and class of each test."""
    chosen = _blind_fkp.Images(options.data, options.images, options.seed)
    for kind in options.classes:
        if kind == "motion":
            yield *chosen.motion(), kind
            continue
        scales = options.scales or ([2, 3, 4] if kind == "fkp" else [2, 4] if kind in WIDE else [2])
        for name, scale in ((name, scale) for name in options.sets for scale in scales):
            if kind == "fkp":
                for test, cases in chosen.fkp(name, scale, options.noise):
                    yield test, cases, kind
            else:
                found = photographs(options.data, name, options.images)
                yield f"{Path(name).name}_x{scale}_{kind}", list(each(found, kind, scale, seed=options.seed)), kind


def seconds(options: argparse.Namespace, products: Products) -> dict[str, float]:
    """Of `auto` for an image of 256x256 low-resolution pixels, x2: the median of the slowest class, and of each."""
    high = next(image for _, image in photographs(options.data, "Set14", None) if min(image.shape[-2:]) >= 2 * SIDE)
    rim = 2 * 8
    high = torch.nn.functional.pad(high[..., : 2 * SIDE, : 2 * SIDE], [rim] * 4, mode="reflect")
    found: dict[str, float] = {}
    for kind in TIMED:
        case = next(each([("timed", high)], kind, 2, seed=options.seed))
        taken: list[float] = []
        for _ in range(ROUNDS + 1):  # the first one warms up
            began = time.perf_counter()
            products.score("auto", case)
            taken.append(time.perf_counter() - began)
        found[f"seconds_256_{kind}"] = round(statistics.median(taken[1:]), 2)
    prefix = f"{options.name}." if options.name else ""
    every = {f"{prefix}{key}": value for key, value in found.items()}
    return {f"{prefix}seconds_256": max(found.values()), **every}


def _score(
    options: argparse.Namespace,
    scores: Scores,
    test: str,
    case: Case | Degraded,
    kind: str,
    kernels: _blind_fkp.Kernels,
    products: Products,
) -> None:
    """One image by all methods."""
    bicubic = case.psnr_y(case.aligned())
    plain = _blind_fkp.mean_kernel(case) if isinstance(case, Case) else Score(bicubic, bicubic, 0.0)
    scores.add(test, "bicubic", case.name, plain)
    by_kernel = kernels.by_name(options.methods) if isinstance(case, Case) and products.conditioned else {}
    packed = kind in SORTS and SORTS[kind].quality is not None
    for method in options.methods:
        label = f"{options.name}_{method}" if options.name else method
        if (options.resume and scores.has(test, label, case.name)) or not products.fits(method, case):
            continue
        if isinstance(case, Case) and method in by_kernel:
            score = kernels.score(case, by_kernel[method])
        else:
            score = products.score(method, case, packed=packed)
        scores.add(test, label, case.name, score)


def _line(scores: Scores, test: str) -> None:
    """The test's gains on one line: mean (worst)."""
    rows = [row for row in scores.rows() if row["set"] == test]
    words = [f"{row['method']} {row['gain']:+.2f} ({row['worst_gain']:+.2f})" for row in rows if "gain" in row]
    sys.stdout.write(f"{test}: {', '.join(words)}\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="default: %(default)s")
    parser.add_argument(
        "--restorer", type=Path, required=True, help="published weights (.pth), or a project's (.safetensors)"
    )
    parser.add_argument("--name", default="", help="put before the methods in the keys: own_auto")
    parser.add_argument("--patches", type=Path, default=Path("data/synthesize/train"), help="default: %(default)s")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="of `auto`; of dkp, and softness")
    kinds = ["fkp", "motion", *SORTS]
    parser.add_argument("--classes", nargs="*", choices=kinds, default=kinds, help="default: all")
    parser.add_argument("--sets", nargs="*", default=["Set5", "Set14", "BSD100"], help="under data/test, or any folder")
    parser.add_argument("--images", type=int, default=10, help="of each set, the first (default: 10)")
    parser.add_argument("--scales", nargs="+", type=int, help="default: 2; of some classes 3 and 4, too")
    parser.add_argument("--noise", nargs="+", type=int, default=[0, 2, 5], help="of 255; of fkp, Set5 alone")
    parser.add_argument("--methods", nargs="+", default=["true", "fast", "auto"], help=f"of {', '.join(METHODS)}")
    parser.add_argument("--seed", type=int, default=1, help="of kernels and noise (default: 1)")
    parser.add_argument("--resume", action="store_true", help="keep the scores of this seed that are there")
    parser.add_argument("--results", type=Path, default=table.RESULTS, help="folder of blind.json")
    parser.add_argument("--time", action="store_true", help="seconds_256")
    parser.add_argument("--borders", action="store_true", help="of photographs against their interior, BSD100")
    parser.add_argument("--race", action="store_true", help="against DKP's released program, one image, ten minutes")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    return parser.parse_args()


if __name__ == "__main__":
    table.run(main)

"""What do dual regression and DRC gain where the input is blurred, noisy and compressed, x2 and x4?

python -m benchmarks.photographs            needs prepared photographs that are in no test set, as `benchmarks.drc` does
python -m benchmarks.photographs --seeds 1 --member-seeds 1     a part of it; finished runs are kept in --work

The factory's DRN is trained under the model `photographs` with the ranges of params.yaml. At x2, three seeds each, it
is trained without a dual map, with learned dual nets, and with the operator that made each pair (`operator`), for a
third of the steps of what follows. A net that was trained with the operator is cut by DRC and by every baseline, with
the same fine-tuning, and tuned whole for as long as DRC's search and fine-tuning together: that is `photo` below.
`clean` is a net of its size and budget that has seen MATLAB's bicubic alone.
Figures are gains in PSNR-Y over MATLAB's bicubic on the same image, whose grid all degraded images lie on; `mixed`
degrades every image of the test sets in its own way, with nothing clean. `spread` is the standard deviation over the
seeds of the paired differences. Times are ONNX Runtime's on one thread, medians of turns.
"""

import argparse
import os
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks import _photographs_choice, _photographs_unpaired, table
from benchmarks._family import BASELINES
from benchmarks._photographs_looks import figures, lows
from benchmarks._photographs_runs import BLURS, CLASSES, MIXED, PhotographRuns, classes, plan_of
from benchmarks._photographs_unpaired import KINDS, UnpairedRuns
from benchmarks.drc import SETS, exported, latency, spread
from srfoundry.compression.recipe import SIDE
from srfoundry.config import params
from srfoundry.core.errors import FoundryError
from srfoundry.core.progress import track
from srfoundry.networks.sr.multiplications import multiplications
from srfoundry.networks.zoo import cards

Job = tuple[str, str, tuple[Any, ...]]  # variant, method, its arguments
BUDGETS = {2: (30, 50), 4: (25,)}
QUICK = ("Set5", "Set14")  # the sets of the dual maps' blur classes


def variants(options: argparse.Namespace) -> dict[str, partial[PhotographRuns]]:
    """How to make the runs of each kind of pretraining, by `xS.VARIANT`."""
    ranges = params.load(Path("params.yaml")).degrade.model("photographs")
    found = {}
    for scale in options.scales:
        plan = plan_of(scale, ranges)
        short = replace(plan, steps=plan.steps // 3)
        plans = {
            "operator": plan,
            "clean": replace(plan, dual_map="learned", degradation=None),
            "short_operator": short,
            "short_learned": replace(short, dual_map="learned"),
        }
        for name, each in plans.items():
            folder = options.work / f"x{scale}" / name
            found[f"x{scale}.{name}"] = partial(
                PhotographRuns, each, options.data, options.tests, folder, options.sets, ranges=ranges
            )
    if 2 in options.scales:
        runs = found["x2.operator"]
        found["x2.unpaired"] = partial(UnpairedRuns, *runs.args, models=options.models, **runs.keywords)
    return found


def jobs(options: argparse.Namespace) -> list[list[Job]]:
    """All runs in batches, those that others start from first."""
    bases: list[Job] = []
    then: list[Job] = []
    duals: list[Job] = []  # and what needs the members
    for scale in options.scales:
        bases += [(f"x{scale}.{name}", "pretrained", (1, 0.1)) for name in ("operator", "clean")]
        then += [(f"x{scale}.operator", "dense", (1,)), (f"x{scale}.clean", "dense", (1,))]
        then += [(f"x{scale}.operator", "drc", (1, budget / 100)) for budget in BUDGETS[scale]]
        if scale == 2:
            then += [("x2.operator", "baseline", (1, method, 0.5)) for method in BASELINES]
        duals += [(f"x{scale}.operator", "by_class", ("dense-1", "classes", CLASSES, options.sets))]
        duals += [
            (f"x{scale}.{variant}", "by_class", (name, "krk", ("div2krk",), options.sets))
            for variant, name in rows(scale).values()
        ]
    for seed in options.seeds if 2 in options.scales else ():
        duals += [("x2.short_operator", "pretrained", (seed, weight)) for weight in (0.1, 0.0)]
        duals += [("x2.short_learned", "pretrained", (seed, 0.1))]
    scored = [
        (f"x2.short_{'learned' if kind == 'learned' else 'operator'}", "by_class", (name, "blurs", BLURS, QUICK))
        for seed in options.seeds
        for kind, name in bases_of(seed).items()
        if 2 in options.scales
    ]
    scored += [("x2.unpaired", "estimated", ())] if 2 in options.scales else []
    more: list[Job] = []
    for seed in options.member_seeds[1:] if 2 in options.scales else ():
        bases += [("x2.operator", "pretrained", (seed, 0.1))]
        more += [("x2.operator", "dense", (seed,))]
        more += [("x2.operator", "drc", (seed, budget / 100)) for budget in BUDGETS[2]]
        more += [("x2.operator", "baseline", (seed, method, 0.5)) for method in BASELINES]
    for seed in options.seeds if 2 in options.scales else ():
        more += [("x2.unpaired", "tuned", (kind, seed)) for kind in KINDS]
    return [bases, then, duals, scored, more]


def rows(scale: int) -> dict[str, tuple[str, str]]:
    """The members of seed 1 that the table shows: their variant and their run."""
    cut = {f"photo {budget} %": ("operator", f"drc-{budget}-1") for budget in BUDGETS[scale]}
    return {"photo": ("operator", "dense-1"), "clean": ("clean", "dense-1"), **cut}


def bases_of(seed: int) -> dict[str, str]:
    """The names of a seed's three pretrained nets."""
    return {"none": f"base-{seed}-0", "learned": f"base-{seed}-0.1", "operator": f"base-{seed}-0.1"}


def work(job: Job, makers: dict[str, partial[PhotographRuns]]) -> None:
    """One run, in a process of its own."""
    variant, method, arguments = job
    getattr(makers[variant](), method)(*arguments)


def members(scale: int, makers: dict[str, partial[PhotographRuns]], sets: Sequence[str]) -> dict[str, Any]:
    """How good the photo net is, overall, against the clean one, and by class."""
    photo, clean = makers[f"x{scale}.operator"](), makers[f"x{scale}.clean"]()
    ours, theirs = photo.scores("dense-1")[MIXED], clean.scores("dense-1")[MIXED]
    by_class = {**photo.by_class("dense-1", "classes", CLASSES, sets), MIXED: ours}
    worst = min(by_class, key=lambda name: by_class[name])
    return {
        f"x{scale}.mixed.gain_db": round(ours, 4),
        f"x{scale}.mixed.over_clean_db": round(ours - theirs, 4),
        f"x{scale}.worst_class_gain_db": round(by_class[worst], 4),
        f"x{scale}.worst_class": worst,
        f"x{scale}.classes": {name: round(value, 4) for name, value in by_class.items()},
    }


def looks(scale: int, makers: dict[str, partial[PhotographRuns]]) -> dict[str, Any]:
    """NIQE of bicubic, the clean net and the photo net on real photographs and on degraded ones, kept once it is known.

    The real photographs are those inside the packages; their picture lies beside the runs.
    """
    photo, clean = makers[f"x{scale}.operator"](), makers[f"x{scale}.clean"]()
    made = classes(scale, photo.ranges)

    def run() -> dict[str, Any]:
        paths = {"clean": clean.work / "dense-1.safetensors", "photo": photo.work / "dense-1.safetensors"}
        nets = {name: cards.load(path)[0].eval() for name, path in paths.items()}
        degraded = {name: lows(photo.tests, QUICK, scale, name, made[name]) for name in (MIXED, "photographs")}
        return figures(nets, None, scale, degraded, photo.work / "real.png")

    return {f"x{scale}.niqe": photo.once("dense-1.niqe", run)}


def dual_maps(makers: dict[str, partial[PhotographRuns]], numbers: Sequence[int]) -> dict[str, Any]:
    """What each dual map gains over none, on the blur classes and on `mixed`, with the spread over the seeds."""
    operator, learned = makers["x2.short_operator"](), makers["x2.short_learned"]()

    def blurs(runs: PhotographRuns, name: str) -> float:
        return statistics.mean(runs.by_class(name, "blurs", BLURS, QUICK).values())

    found: dict[str, Any] = {}
    for kind, runs in (("operator", operator), ("learned", learned)):
        named = [(bases_of(seed)[kind], bases_of(seed)["none"]) for seed in numbers]
        gains = spread([blurs(runs, ours) - blurs(operator, none) for ours, none in named])
        mixed = spread([runs.scores(ours)[MIXED] - operator.scores(none)[MIXED] for ours, none in named])
        found |= {f"{kind}_dual_gain_db": gains["mean"], f"{kind}_dual_gain_spread": gains["spread"]}
        found |= {f"{kind}_dual_gain_mixed_db": mixed["mean"], f"{kind}_dual_gain_mixed_spread": mixed["spread"]}
    return found


def compression(makers: dict[str, partial[PhotographRuns]], numbers: Sequence[int]) -> dict[str, Any]:
    """What DRC loses at x2 against the uncompressed net and gains over the best baseline, on `mixed`."""
    runs = makers["x2.operator"]()

    def gain(name: str) -> float:
        return runs.scores(name)[MIXED]

    found: dict[str, Any] = {}
    for budget in BUDGETS[2]:
        lost = spread([gain(f"dense-{seed}") - gain(f"drc-{budget}-{seed}") for seed in numbers])
        found |= {f"loss_at_{budget}": lost["mean"], f"loss_at_{budget}_spread": lost["spread"]}
        found[f"removed_{budget}"] = [round(runs.scores(f"drc-{budget}-{seed}")["removed"], 4) for seed in numbers]
    over = {
        method: spread([gain(f"drc-50-{seed}") - gain(f"{method}-50-{seed}") for seed in numbers])
        for method in BASELINES
    }
    best = min(over, key=lambda method: over[method]["mean"])
    found |= {
        "gain_over_best_baseline_50": over[best]["mean"],
        "gain_over_best_baseline_50_spread": over[best]["spread"],
    }
    return found | {"best_baseline_50": best, "gains_over_baselines_50": {k: v["mean"] for k, v in over.items()}}


def choice(makers: dict[str, partial[PhotographRuns]], tests: Path) -> dict[str, Any]:
    """The exported members: how far from PyTorch, and what `srfoundry upscale` loses by choosing between them, x2."""
    runs = makers["x2.operator"]()
    with TemporaryDirectory() as scratch:
        files = {name: Path(scratch) / f"{name}.onnx" for name in ("clean", "photo", "half")}
        half = exported(runs.work / "drc-50-1.safetensors", files["half"])
        exported(makers["x2.clean"]().work / "dense-1.safetensors", files["clean"])
        worst = max(half, exported(runs.work / "dense-1.safetensors", files["photo"]))
        return {
            "parity_max_abs": worst,
            **_photographs_choice.figures(files["clean"], files["photo"], tests / "BSD100"),
        }


def rows_of(makers: dict[str, partial[PhotographRuns]], scales: Sequence[int]) -> list[dict[str, Any]]:
    """One row a member of seed 1, with its gains on `mixed` and on DIV2KRK's kind of images."""
    found = []
    for scale in scales:
        low = torch.zeros(1, 3, SIDE, SIDE, device="meta")
        for title, (variant, name) in rows(scale).items():
            runs = makers[f"x{scale}.{variant}"]()
            net, _ = cards.load(runs.work / f"{name}.safetensors")
            found.append(
                {
                    "net": f"x{scale} {title}",
                    "parameters": sum(weight.numel() for weight in net.parameters()),
                    f"macs_{SIDE}x{SIDE}": multiplications(net.to("meta"), low),
                    "mixed_db": round(runs.scores(name)[MIXED], 4),
                    "div2krk_db": round(runs.by_class(name, "krk", ("div2krk",), runs.sets)["div2krk"], 4),
                }
            )
    return found


def main() -> None:
    """Do all runs that are not done, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/synthesize"), help="prepared photographs to train on")
    parser.add_argument("--tests", type=Path, default=Path("../shared/data/test"), help="folder of the test sets")
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--scales", nargs="+", type=int, choices=sorted(BUDGETS), default=sorted(BUDGETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], help="of the dual maps, x2")
    parser.add_argument("--member-seeds", nargs="+", type=int, default=[1, 2, 3], help="of DRC, x2; 1 first")
    parser.add_argument("--models", type=Path, default=Path("models"), help="the factory's, to estimate kernels by")
    parser.add_argument("--work", type=Path, default=Path(".bench/photographs"), help="where runs are kept")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each (default: 2)")
    parser.add_argument("--rounds", type=int, default=21, help="timed runs of each net (default: 21)")
    parser.add_argument("--train-only", action="store_true", help="do the runs and report nothing yet")
    options = parser.parse_args()
    if missing := [name for name in options.sets if not (options.tests / name).is_dir()]:
        raise FoundryError(
            f"test sets not found in {options.tests}: {', '.join(missing)}; name their folder by --tests"
        )
    os.environ["OMP_NUM_THREADS"] = "1"
    makers = variants(options)
    # a process a job, spawned: forked ones would share their parent's threads
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for batch, title in zip(jobs(options), ("bases", "members", "dual maps", "blurs", "seeds"), strict=True):
            for _ in track(pool.map(partial(work, makers=makers), batch), title, len(batch)):
                pass
    if options.train_only:
        return
    found: dict[str, Any] = {}
    for scale in options.scales:
        found |= members(scale, makers, options.sets) | looks(scale, makers)
    if 2 in options.scales:
        found |= dual_maps(makers, options.seeds) | compression(makers, options.member_seeds)
        unpaired = makers["x2.unpaired"]()
        assert isinstance(unpaired, UnpairedRuns)
        found |= _photographs_unpaired.figures(unpaired, options.seeds) | choice(makers, options.tests)
        torch.set_num_threads(1)
        seconds = latency(options.work / "x2" / "operator", ["dense-1", "drc-50-1", "drc-30-1"], 1, options.rounds)
        dense = statistics.median(seconds["dense-1"])
        found |= {f"time_ratio_{b}": round(statistics.median(seconds[f"drc-{b}-1"]) / dense, 4) for b in BUDGETS[2]}
    table.report("photographs", rows_of(makers, options.scales), threads=1, **found)


if __name__ == "__main__":
    table.run(main)

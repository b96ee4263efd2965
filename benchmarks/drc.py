"""What does dual regression gain, and what do DRC's searched widths and training gain over other ways of pruning?

python -m benchmarks.drc                          needs `dvc repro synthesize` on photographs that are in no test set
python -m benchmarks.drc --seeds 1 --budgets 50   a part of it; finished runs are kept in --work and not done again
python -m benchmarks.drc --network drn_wide --no-dual    three times the parameters, widths that the runtime likes
python -m benchmarks.drc --network swinir --seeds 1 --budgets 30 50    a transformer; 70 % is more than it can lose

For each seed a net is pretrained without dual regression, with learned dual nets, and with the true reduction as dual
map (`tied`). The second is cut to each budget by DRC and by every baseline, with the same fine-tuning, and tuned whole
for as long as DRC's search and fine-tuning together. --more longer adds random channels and torch-pruning with
fine-tuning of that length, --more greedy the paper's selection of channels, --more softmax a search with the paper's
softmax over widths and its ranking of channels by weights. PSNR-Y on 8 bits, border cropped. `spread` is the standard
deviation over the seeds. Latency is ONNX Runtime's, median of turns.
"""

import argparse
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks import table
from benchmarks._family import BASELINES, Plan, Runs
from benchmarks._spread import spread as spread_over
from srfoundry.compression.baselines import Baseline
from srfoundry.core import seeds
from srfoundry.core.errors import FoundryError
from srfoundry.deployment import export
from srfoundry.deployment.settings import GraphTarget, ParityCheck
from srfoundry.networks.zoo import cards
from srfoundry.runtime.session import Session

PLANS = {
    "drn": Plan(
        "drn", scale=2, blocks=6, width=16, multiple=4, steps=12000, search_steps=1000, tune_steps=800, tune_rate=1.2e-3
    ),
    "drn_wide": Plan(
        "drn", scale=2, blocks=4, width=32, multiple=16, steps=6000, search_steps=1000, tune_steps=800, tune_rate=1.2e-3
    ),
    "edsr": Plan(
        "edsr", scale=2, blocks=8, width=32, multiple=4, steps=6000, search_steps=1000, tune_steps=800, tune_rate=1.2e-3
    ),
    "swinir": Plan("swinir", scale=2, blocks=2, width=32, multiple=1, steps=3000, search_steps=600, tune_steps=600),
}
LONGER: tuple[Baseline, ...] = ("random", "torch_pruning")  # the best baselines after a long and a short pretraining
MORE = ("longer", "greedy", "softmax")
SETS = ("Set5", "Set14", "BSD100")
SIZE = 192  # low-resolution pixels a side for the latency


def work(job: tuple[str, tuple[Any, ...]], make: partial[Runs]) -> None:
    """One run, in a process of its own."""
    name, arguments = job
    getattr(make(), name)(*arguments)


def latency(folder: Path, names: Sequence[str], threads: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each net in ONNX Runtime, in turns."""
    low = torch.rand(1, 3, SIZE, SIZE, generator=seeds.generator(0, "drc")).numpy()
    calls = {}
    with TemporaryDirectory() as scratch:
        for name in names:
            path = Path(scratch) / f"{name}.onnx"
            exported(folder / f"{name}.safetensors", path)
            session = Session(path, threads=threads, device="cpu")
            calls[name] = partial(session.run, low)
        return table.interleaved(calls, rounds)


def exported(model: Path, path: Path) -> float:
    """Export a run's net; the largest difference to PyTorch, which is at most 1e-4."""
    net, card = cards.load(model)
    target = GraphTarget(opset=11, tile=64, tile_error=2e-3)
    about = export.describe(net, card, target, pictures=[], name=model.stem, data_hash="", metrics={})
    return export.write(net, about, path, ParityCheck(sizes=[(37, 53)], tolerance=1e-4)).worst


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean and standard deviation over the seeds."""
    return {
        "mean": round(statistics.mean(values), 4),
        "spread": round(statistics.stdev(values), 4) if len(values) > 1 else 0.0,
    }


def figures(
    runs: Runs, numbers: Sequence[int], budgets: Sequence[int], sets: Sequence[str], *, more: Sequence[str], dual: bool
) -> dict[str, Any]:
    """The headlines, each a mean over the seeds, with the spread of the paired differences."""

    def mean(name: str) -> float:
        return statistics.mean(runs.scores(name)[each] for each in sets)

    def gain_over_best(budget: int, methods: Sequence[str], key: str, named: str) -> dict[str, Any]:
        over = {
            method: [mean(f"drc-{budget}-{seed}") - mean(f"{method}-{budget}-{seed}") for seed in numbers]
            for method in methods
        }
        best = min(over, key=lambda method: statistics.mean(over[method]))
        gains = spread(over[best])
        return {key: gains["mean"], f"{key}_spread": gains["spread"], named: best}

    found: dict[str, Any] = {}
    for key, pattern in (("dual_gain", "base-{}-0.1"), ("dual_gain_tied", "tied-{}")) if dual else ():
        gains = spread([mean(pattern.format(seed)) - mean(f"base-{seed}-0") for seed in numbers])
        found |= {key: gains["mean"], f"{key}_spread": gains["spread"]}
    for budget in budgets:
        found |= gain_over_best(budget, BASELINES, f"gain_over_best_baseline_{budget}", f"best_baseline_{budget}")
        if "longer" in more:
            longer = [f"{method}_longer" for method in LONGER]
            found |= gain_over_best(budget, longer, f"gain_at_equal_steps_{budget}", f"best_at_equal_steps_{budget}")
        lost = {
            each: [runs.scores(f"drc-{budget}-{seed}")[each] - runs.scores(f"dense-{seed}")[each] for seed in numbers]
            for each in sets
        }
        found[f"loss_at_{budget}"] = {each: spread(values) for each, values in lost.items()}
        removed = [runs.scores(f"drc-{budget}-{seed}")["removed"] for seed in numbers]
        found[f"removed_{budget}"] = [round(each, 4) for each in removed]
    return found


def rows_of(
    runs: Runs, numbers: Sequence[int], budgets: Sequence[int], sets: Sequence[str], *, more: Sequence[str], dual: bool
) -> list[dict[str, Any]]:
    """One row a method and budget."""
    names = [("without dual", "base-{}-0"), ("tied dual", "tied-{}")] if dual else []
    names += [("learned dual", "base-{}-0.1"), ("uncompressed, tuned", "dense-{}")]
    for budget in budgets:
        extra = {"longer": [f"{each}_longer" for each in LONGER], "greedy": ["greedy"], "softmax": ["drc_softmax"]}
        methods = [*BASELINES, "drc", *(each for kind in more for each in extra[kind])]
        names += [(f"{method} {budget} %", f"{method}-{budget}-{{}}") for method in methods]
    rows = []
    for title, pattern in names:
        scores = [runs.scores(pattern.format(seed)) for seed in numbers]
        row: dict[str, Any] = {"net": title, "parameters": round(statistics.mean(s["parameters"] for s in scores))}
        for each in sets:
            row |= {each: spread([score[each] for score in scores])["mean"]}
        row["mean"] = round(statistics.mean(row[each] for each in sets), 4)
        rows.append({**row, "spread": spread([statistics.mean(s[each] for each in sets) for s in scores])["spread"]})
    return rows


def main() -> None:
    """Do all runs that are not done, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/synthesize"), help="prepared photographs to train on")
    parser.add_argument("--tests", type=Path, default=Path("../shared/data/test"), help="folder of the test sets")
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--network", choices=sorted(PLANS), default="drn")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--budgets", nargs="+", type=int, default=[30, 50, 70], help="per cent of the parameters to go")
    parser.add_argument("--more", nargs="+", choices=MORE, default=[], help="further rows for each budget, see above")
    parser.add_argument(
        "--dual", action=argparse.BooleanOptionalAction, default=True, help="also what dual regression gains"
    )
    parser.add_argument("--work", type=Path, default=Path(".bench/drc"), help="where runs are kept")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each (default: 2)")
    parser.add_argument("--rounds", type=int, default=21, help="timed runs of each net (default: 21)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the latency (default: 2)")
    options = parser.parse_args()
    if missing := [name for name in options.sets if not (options.tests / name).is_dir()]:
        raise FoundryError(
            f"test sets not found in {options.tests}: {', '.join(missing)}; name their folder by --tests"
        )
    folder = (options.work / options.network).absolute()
    make = partial(
        Runs, PLANS[options.network], options.data.absolute(), options.tests.absolute(), folder, options.sets, 1
    )
    first: list[tuple[str, tuple[Any, ...]]] = [("pretrained", (seed, 0.1)) for seed in options.seeds]
    if options.dual:
        first += [job for seed in options.seeds for job in (("tied", (seed,)), ("pretrained", (seed, 0.0)))]
    shares = [budget / 100 for budget in options.budgets]
    then: list[tuple[str, tuple[Any, ...]]] = []
    for seed in options.seeds:
        then += [("dense", (seed,)), *(("drc", (seed, share)) for share in shares)]
        then += [("baseline", (seed, method, share)) for share in shares for method in BASELINES]
    last: list[tuple[str, tuple[Any, ...]]] = []
    if "longer" in options.more:
        last += [
            ("baseline", (seed, each, share, True)) for seed in options.seeds for share in shares for each in LONGER
        ]
    if "greedy" in options.more:
        last += [("greedy", (seed, share)) for seed in options.seeds for share in shares]
    if "softmax" in options.more:
        last += [("drc", (seed, share, True)) for seed in options.seeds for share in shares]
    for jobs, title in ((first, "pretraining"), (then, "compressing"), (last, "adding")):
        spread_over(partial(work, make=make), jobs, title, processes=options.jobs)
    runs = make()
    torch.set_num_threads(options.threads)
    found = figures(runs, options.seeds, options.budgets, options.sets, more=options.more, dual=options.dual)
    names = [f"base-{options.seeds[0]}-0.1", *(f"drc-{budget}-{options.seeds[0]}" for budget in options.budgets)]
    seconds = latency(folder, names, options.threads, options.rounds)
    for name, budget in zip(names[1:], options.budgets, strict=True):
        ratio = statistics.median(seconds[name]) / statistics.median(seconds[names[0]])
        found[f"latency_ratio_{budget}"] = round(ratio, 4)
    rows = rows_of(runs, options.seeds, options.budgets, options.sets, more=options.more, dual=options.dual)
    dense = runs.scores(f"dense-{options.seeds[0]}")
    found["steps_of_uncompressed"] = dense["steps"]
    suffix = "" if options.network == "drn" else f"_{options.network}"
    table.report(f"drc{suffix}", rows, threads=options.threads, network=options.network, **found)


if __name__ == "__main__":
    table.run(main)

"""Is the grouped convolution exact, quick and worth its quality? Masks, layouts, a block's time, SR at half the cost.

python -m benchmarks.msgc                needs `dvc repro synthesize` and the test sets; about 25 minutes of one core
python -m benchmarks.msgc --quick        everything once, on values too small to say anything; writes nothing

Finished runs are kept in --work and not done again. SR: from one pretrained EDSR a seed, the same number of further
steps for the dense control and for nets with half of its multiply-adds by uniform L1, random masks, DRC and MSGC;
PSNR-Y on 8 bits, border cropped; `spread` is the standard deviation over the seeds, gains are paired. Draws
benchmarks/results/msgc.png. Classification: scikit-learn's digits.
"""

import argparse
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks import _digits, table
from benchmarks._classifiers import MobileNetV2, ResNet
from benchmarks._masks import METHODS, Plan, Runs
from benchmarks._published import published
from srfoundry.compression.latency import onnx_runner
from srfoundry.compression.msgc.conversion import convert
from srfoundry.compression.msgc.layer_pairs import Choice, LayerPair
from srfoundry.compression.msgc.mask_choice import freeze
from srfoundry.compression.msgc.masked_conv import MSGConv2d, wrap
from srfoundry.core.errors import FoundryError
from srfoundry.core.progress import track
from srfoundry.core.seeds import generator, redraw
from srfoundry.networks.sr.edsr import ResidualBlock
from srfoundry.networks.zoo import cards
from srfoundry.reporting.compression import methods_picture

A7 = {  # spec of the published layouts: parameters, with attention; multiply-adds dense, masked, of the gates, in M
    "resnet18": (12_553_128, 13_416_744, 1817.209, 1677.785, 1.782),
    "mobilenetv2": (4_318_504, 5_132_136, 306.943, 118.114, 1.743),
}


def conv(inputs: int, outputs: int, *, size: int = 3, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    """A convolution with random weights."""
    made = nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=bias)
    redraw(made, generator(0, "conv", inputs, outputs))
    return made


def exactness() -> dict[str, float]:
    """Largest differences: open masks and the dense layer, one group and sliced channels, disjoint masks and groups."""
    image = torch.rand(2, 32, 24, 20, generator=generator(0, "image"))
    apart = list[torch.Tensor]()
    for size in (1, 3):
        for stride in (1, 2):
            for bias in (False, True):
                layer = conv(32, 32, size=size, stride=stride, bias=bias)
                apart.append((MSGConv2d(layer, groups=4)(image) - layer(image)).detach().abs().max())
    layer, order = conv(32, 32), torch.randperm(32, generator=generator(0, "order"))
    with torch.no_grad():  # whole numbers, of which float32 makes exact sums in any order
        image = (16 * image).round()
        for value in layer.parameters():
            value.copy_((256 * value).round())
    one, four = MSGConv2d(layer, groups=1), MSGConv2d(layer, groups=4)
    for masked, index in ((one, order[None, :16].sort().values), (four, order.reshape(4, 8))):
        assert masked.logits is not None
        masked.logits.data = torch.full_like(masked.logits, -1.0).scatter(1, index, 1.0)
    kept = order[:16].sort().values
    sliced = nn.functional.conv2d(image[:, kept], layer.weight[:, kept], layer.bias, padding=1)
    exact = float((one(image) - sliced).abs().max())
    image = torch.rand(2, 32, 24, 20, generator=generator(0, "image"))
    redraw(layer, generator(0, "again"))
    weight = torch.cat([layer.weight[8 * g : 8 * g + 8][:, order[8 * g : 8 * g + 8]] for g in range(4)])
    grouped = nn.functional.conv2d(image[:, order], weight, layer.bias, padding=1, groups=4)
    return {
        "all_on_max_abs": float(torch.stack(apart).max()),  # NaN where one is, as Python's max is not
        "one_group_max_abs": exact,
        "disjoint_max_abs": float((four(image) - grouped).abs().max()),
    }


def layouts() -> dict[str, Any]:
    """The published nets' parameters and multiply-adds, and whether they are the spec's to its last digit."""
    found: dict[str, Any] = {}
    for name, net in (("resnet18", ResNet()), ("mobilenetv2", MobileNetV2())):
        plain, more = published(net, attention=False), published(net, attention=True)
        macs = [round(value / 1e6, 3) for value in (plain.macs, plain.masked_macs, plain.gate_macs)]
        found[name] = [plain.parameters, more.parameters, *macs]
        found[f"{name}_as_published"] = found[name] == list(A7[name])
    return found


def block(rounds: int, side: int = 96) -> dict[str, Any]:
    """Time of a 64-channel residual block in ONNX Runtime: dense, masked, converted and narrowed to half the cost."""
    net = nn.Sequential(ResidualBlock(64, 64, 1.0)).eval()
    redraw(net, generator(0, "block"))
    pair = LayerPair("block", "0.second", ("0.first",))
    rng = generator(0, "masks")
    rows = torch.stack([torch.randperm(64, generator=rng)[:32].sort().values for _ in range(3)])
    rows = torch.cat([rows, torch.tensor([sorted(set(range(64)) - set(rows[0].tolist()))])])  # all 64 are used
    masked, gated = wrap(net, [pair]), wrap(net, [pair], sampled=True, rng=rng)
    freeze(masked, [pair], [Choice(torch.randperm(64, generator=rng)[:32].sort().values, rows)])
    plain, narrow = convert(masked, [pair], multiple=8), nn.Sequential(ResidualBlock(64, 32, 1.0)).eval()
    image = torch.rand(1, 64, side, side, generator=generator(0, "image"))
    with torch.no_grad():
        difference = float((plain(image) - masked(image)).abs().max())
    nets = {"dense": net, "masked": masked, "sample-wise": gated, "converted": plain, "narrowed": narrow}
    seconds = table.interleaved({name: onnx_runner(each, image, threads=1) for name, each in nets.items()}, rounds)
    ratios = {name: statistics.median(taken) / statistics.median(seconds["dense"]) for name, taken in seconds.items()}
    return {
        "converted_max_abs": difference,
        "block_latency_ratio": round(ratios["converted"], 4),
        "block": {name: {**table.spread(seconds[name]), "over_dense": round(ratios[name], 4)} for name in nets},
    }


def super_resolution(runs: Runs, numbers: Sequence[int], rounds: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """One row a method, and the paired gains of MSGC over the others."""
    jobs = [(method, seed) for seed in numbers for method in METHODS]
    scores = {job: runs.run(*job) for job in track(jobs, "runs", len(jobs))}
    mean = {job: statistics.mean(found[name] for name in runs.sets) for job, found in scores.items()}
    calls, low = {}, torch.rand(1, 3, 96, 96, generator=generator(0, "low"))
    for method in METHODS:
        net, _ = cards.load(runs.work / f"{method}-{numbers[0]}.safetensors")
        calls[method] = onnx_runner(net, low, threads=1)
    seconds = table.interleaved(calls, rounds)
    rows, gains = [], {}
    for method in METHODS:
        found = [scores[method, seed] for seed in numbers]
        row = {
            "method": method,
            **{k: round(statistics.mean(s[k] for s in found)) for k in ("parameters", "macs_96x96")},
        }
        row |= {name: round(statistics.mean(s[name] for s in found), 4) for name in runs.sets}
        row |= {"mean": round(statistics.mean(mean[method, s] for s in numbers), 4)}
        row |= {"spread": _spread([mean[method, seed] for seed in numbers]), **table.spread(seconds[method])}
        rows.append({**row, "cpu_seconds": round(sum(s["cpu_seconds"] for s in found))})
        if method != "msgc":
            over = [mean["msgc", seed] - mean[method, seed] for seed in numbers]
            gains[f"msgc_over_{method}"] = {"mean": round(statistics.mean(over), 4), "spread": _spread(over)}
    return rows, gains


def _spread(values: Sequence[float]) -> float:
    return round(statistics.stdev(values), 4) if len(values) > 1 else 0.0


def main() -> None:
    """All parts, one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/synthesize"), help="prepared photographs to train on")
    parser.add_argument("--tests", type=Path, default=Path("../shared/data/test"), help="folder of the test sets")
    parser.add_argument("--sets", nargs="+", default=["Set5", "Set14"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--work", type=Path, default=Path(".bench/msgc"), help="where runs are kept")
    parser.add_argument("--rounds", type=int, default=41, help="timed runs of each net (default: 41)")
    parser.add_argument("--quick", action="store_true", help="tiny values, one seed, nothing written to results")
    options = parser.parse_args()
    if missing := [name for name in options.sets if not (options.tests / name).is_dir()]:
        raise FoundryError(
            f"test sets not found in {options.tests}: {', '.join(missing)}; name their folder by --tests"
        )
    torch.set_num_threads(1)
    plan, steps = Plan(), 600
    if options.quick:
        plan = replace(plan, blocks=2, remove=0.25, multiple=4, steps=20, search_steps=20, tune_steps=20)
        steps, options.seeds, options.sets, options.rounds = 40, options.seeds[:1], options.sets[:1], 5
        options.work = options.work.with_name(f"{options.work.name}_quick")
        table.RESULTS = options.work
    runs = Runs(plan, options.data, options.tests, options.work, options.sets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        figures: dict[str, Any] = {**exactness(), **layouts(), **block(options.rounds)}
        rows, gains = super_resolution(runs, options.seeds, options.rounds)
    digits = [row for seed in options.seeds for row in _digits.compare(seed, steps=steps)]
    for name in ("dense", "static", "sample-wise"):
        found = [row for row in digits if row["net"] == name]
        accuracies = [row["accuracy"] for row in found]
        figures[f"digits_{name}"] = {
            "accuracy": round(statistics.mean(accuracies), 3),
            "spread": _spread(accuracies),
            "macs_share": [round(row["macs_share"], 4) for row in found],
        }
    psnr = {row["method"]: (row["mean"], row["spread"]) for row in rows}
    costs = {
        "multiply-adds at 96x96, G": {row["method"]: row["macs_96x96"] / 1e9 for row in rows},
        "ONNX Runtime, 96x96, ms": {row["method"]: row["median_ms"] for row in rows},
    }
    methods_picture(table.RESULTS / "msgc.png", psnr, costs)
    table.report("msgc", rows, threads=1, **figures, **gains, steps=plan.search_steps + plan.tune_steps)


if __name__ == "__main__":
    table.run(main)

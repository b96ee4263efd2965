"""How long does one image take? Ten steps of adaptation and the restoration, x2, for either input of the network.

python -m benchmarks.adapt            needs `make repro` before

The network is the meta-trained one; given the input that it was not trained on it makes worse images in the same time.
On a busy machine read `cpu_s` of one thread: seconds of all cores together. Also shown: many small images, one a
thread (as `srfoundry restore FOLDER` does) and one by one with all threads.
"""

import argparse
import copy
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import table
from srfoundry.core import parallel
from srfoundry.core.compute import channels_last, fast_bfloat16
from srfoundry.degradation import kernels, operator
from srfoundry.degradation.linear_enlargement import How
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.imaging import images, metrics, windows
from srfoundry.networks.adaptive.mzsr import MZSR
from srfoundry.networks.zoo import cards
from srfoundry.zero_shot.adaptation import adapt
from srfoundry.zero_shot.recipe import Recipe
from srfoundry.zero_shot.restoration import restore

SCALE = 2
WAYS: list[How] = ["bicubic", "linear"]


def photograph(size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The busiest part of a photograph, blurred and reduced to size x size, and the kernel."""
    whole = images.read(next(path for path in images.bundled() if path.stem == "coffee"))
    whole = whole.repeat(1, 1, 1 + SCALE * size // whole.shape[-2], 1 + SCALE * size // whole.shape[-1])
    high = windows.crop(whole, windows.busiest(whole, SCALE * size, energy="edges"))
    kernel = kernels.gaussian(21, torch.tensor([2.0]), torch.tensor([2.0]), torch.zeros(1))
    return high, images.from_uint8(images.to_uint8(operator.degrade(high, kernel, SCALE))), kernel


def alone(
    net: nn.Module, low: Tensor, kernel: Tensor, recipe: Recipe, precision: str = "float32"
) -> tuple[Tensor, dict[str, float]]:
    """The restored image, and the seconds that it took."""
    began, busy = time.perf_counter(), time.process_time()
    observation = Observation(low, kernel, Sampling(SCALE))
    weights = adapt(net, observation, recipe, precision=precision).weights
    between = time.perf_counter()
    image = restore(net, observation, weights=weights)
    now, spent = time.perf_counter(), time.process_time() - busy
    return image, {"total_s": now - began, "adapt_s": between - began, "restore_s": now - between, "cpu_s": spent}


def trained(path: Path, how: How) -> nn.Module:
    """The network of a checkpoint, for one input."""
    net, card = cards.load(path)
    arch = {key: value for key, value in card.arch.items() if key != "name"}
    made = MZSR(**{**arch, "enlargement": how})
    made.load_state_dict(net.state_dict())
    return channels_last(made.eval(), torch.device("cpu"))


def main() -> None:
    """Measure both inputs of the network, in both precisions where it pays, then a folder's worth of images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="low-resolution pixels a side (default: 256)")
    parser.add_argument("--many", type=int, default=8, help="images of a quarter of that a side (default: 8)")
    parser.add_argument("--rounds", type=int, default=3, help="timed runs of each (default: 3)")
    parser.add_argument("--model", type=Path, default=Path("models/metatrain.safetensors"))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="CPU threads (default: 1 2)")
    options = parser.parse_args()
    recipe = Recipe.from_card(cards.read_card(options.model).metrics).with_steps(10)
    high, low, kernel = photograph(options.size)
    nets = {how: trained(options.model, how) for how in WAYS}
    precisions = ["float32", "bfloat16"] if fast_bfloat16(torch.device("cpu")) else ["float32"]
    rows: list[dict[str, Any]] = []
    for threads, precision, how in itertools.product(options.threads, precisions, WAYS):
        torch.set_num_threads(threads)
        alone(nets[how], low[..., :64, :64], kernel, recipe, precision)  # warm
        runs = [alone(nets[how], low, kernel, recipe, precision) for _ in range(options.rounds)]
        image, seconds = sorted(runs, key=lambda run: run[1]["total_s"])[len(runs) // 2]
        row = {"input": how, "precision": precision, "threads": threads}
        rows.append(row | {key: round(value, 3) for key, value in seconds.items()})
        rows[-1]["psnr_y"] = round(metrics.psnr_y(image, high, SCALE), 3)
    small = photograph(options.size // 4)[1]
    for name, taken in many(nets["bicubic"], small, kernel, recipe, options).items():
        rows.append(
            {"input": f"{options.many} images {name}", "threads": options.threads[-1], "total_s": round(taken, 3)}
        )
    table.report("adapt", rows, threads=options.threads[-1], size=options.size, steps=10)


def many(net: nn.Module, low: Tensor, kernel: Tensor, recipe: Recipe, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of several images, one after another on all threads and one a thread."""

    def work(index: int) -> float:
        return float(alone(copy.deepcopy(net), low.roll(index, -1), kernel, recipe)[0].mean())

    mapped = parallel.threads(options.threads[-1])
    ways: dict[str, Callable[[], list[float]]] = {
        "one by one": lambda: [work(index) for index in range(options.many)],
        "one a thread": lambda: list(mapped(work, range(options.many), "many")),
    }
    seconds = table.interleaved(ways, 2, warm_up=1)
    return {name: min(taken) for name, taken in seconds.items()}


if __name__ == "__main__":
    table.run(main)

"""How long does one image take? Ten steps of adaptation and the restoration, x2: a part of `adapt`.

The network is the meta-trained one; given the input that it was not trained on it makes worse images in the same time.
On a busy machine read `cpu_s` of one thread: seconds of all cores together. Also shown: many small images, one a
thread (as `srfoundry restore FOLDER` does) and one by one with all threads.
"""

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
SIZE, MANY, ROUNDS = 256, 8, 3  # low-resolution pixels a side; images of a quarter of that; timed runs of each
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


def rows(model: Path, threads: list[int]) -> list[dict[str, Any]]:
    """Both inputs of the network, in both precisions where it pays, then a folder's worth of images.

    Args:
        model: the adaptive network's checkpoint.
        threads: CPU threads, each in turn.
    """
    recipe = Recipe.from_card(cards.read_card(model).metrics).with_steps(10)
    high, low, kernel = photograph(SIZE)
    nets = {how: trained(model, how) for how in WAYS}
    precisions = ["float32", "bfloat16"] if fast_bfloat16(torch.device("cpu")) else ["float32"]
    found: list[dict[str, Any]] = []
    for count, precision, how in itertools.product(threads, precisions, WAYS):
        torch.set_num_threads(count)
        alone(nets[how], low[..., :64, :64], kernel, recipe, precision)  # warm
        runs = [alone(nets[how], low, kernel, recipe, precision) for _ in range(ROUNDS)]
        image, seconds = sorted(runs, key=lambda run: run[1]["total_s"])[len(runs) // 2]
        row = {"input": how, "precision": precision, "threads": count}
        found.append(row | {key: round(value, 3) for key, value in seconds.items()})
        found[-1]["psnr_y"] = round(metrics.psnr_y(image, high, SCALE), 3)
    small = photograph(SIZE // 4)[1]
    for name, taken in many(nets["bicubic"], small, kernel, recipe, threads[-1]).items():
        found.append({"input": f"{MANY} images {name}", "threads": threads[-1], "total_s": round(taken, 3)})
    return found


def many(net: nn.Module, low: Tensor, kernel: Tensor, recipe: Recipe, threads: int) -> dict[str, float]:
    """Seconds of several images, one after another on all threads and one a thread."""

    def work(index: int) -> float:
        return float(alone(copy.deepcopy(net), low.roll(index, -1), kernel, recipe)[0].mean())

    mapped = parallel.threads(threads)
    ways: dict[str, Callable[[], list[float]]] = {
        "one by one": lambda: [work(index) for index in range(MANY)],
        "one a thread": lambda: list(mapped(work, range(MANY), "many")),
    }
    seconds = table.interleaved(ways, 2, warm_up=1)
    return {name: min(taken) for name, taken in seconds.items()}

"""Beamforming: LAGD's forms and WMMSE on stored channels, and the batched solver against the released program's loop.

python -m benchmarks.beamforming --data ../shared/data     five minutes on one busy core

Rates are means over the 60 channels of each file, in bit; `target` is the better of the two stored best-of-10 WMMSE.
`control` is `best` without its network: the same starts, improved and polished by the same bisection-free WMMSE.
`control32` has twice as many starts, so that as many of them are improved by WMMSE as `best` has.
`network_adds` is what the network is worth in it, the mean of best - control over the channels, and the standard error
of that mean; `network_adds_32` holds it against the other control. `fresh` are 60 channels of each size that are drawn
here, on which nothing was ever chosen.
`speedup` is the time of the released form one instance after another, as its program computes (a loop over users, the
slope at the start found anew in each step), over the time of all 100 at once by the solver, in turns. The loop runs
--sample instances, and its time is extended to 100. `speedup_vectorised` holds it against a loop whose users are one
tensor. Times are those of the CPU, on one thread, so that a busy machine changes little.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import table
from srfoundry.core import seeds
from srfoundry.core.errors import FoundryError
from srfoundry.reporting.beamforming import Line, rates_picture
from srfoundry.solver.beamforming import lagd, precoders
from srfoundry.solver.beamforming.precoders import Downlink
from srfoundry.solver.beamforming.settings import Form

SNRS = (0, 10, 20, 30)
NOISE = 0.1  # of the stored channels; their power is NOISE (1 + SNR)
FULL = 100  # instances of the speed's figure


def looped_rate(rows: Tensor, channel: Tensor, noise: float) -> Tensor:
    """-sum rate of rows [Re v | Im v], user by user; a user's gains are one vector, of which the program makes more."""
    half = rows.shape[1] // 2
    total = torch.zeros(())
    for own in range(len(rows)):
        real, imaginary = channel[own, :half], channel[own, half:]
        along = rows[:, :half] @ real + rows[:, half:] @ imaginary
        across = rows[:, half:] @ real - rows[:, :half] @ imaginary
        gains = along**2 + across**2
        total = total - torch.log2(1 + gains[own] / (gains.sum() - gains[own] + noise))
    return total


def released(channel: Tensor, power: float, steps: int, *, looped: bool, rng: torch.Generator) -> float:
    """LAGD as released for one instance (channel `k 2m`, single precision); returns the last rate."""
    antennas = channel.shape[1] // 2
    net = nn.Sequential(nn.Linear(2 * antennas, 20), nn.Linear(20, 2 * antennas))
    seeds.redraw(net, rng)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    turned = torch.cat([-channel[:, antennas:], channel[:, :antennas]], dim=1)
    data = (torch.cat([channel, turned])[None], torch.empty(0), torch.full((1, 1), NOISE), torch.ones(1, len(channel)))

    def loss_of(rows: Tensor) -> Tensor:
        return looped_rate(rows, channel, NOISE) if looped else lagd.minus_rate(rows[None], data)[0]

    loss = torch.zeros(())
    for _ in range(steps):
        start = (channel * (power / channel.square().sum()).sqrt()).requires_grad_()
        (slope,) = torch.autograd.grad(loss_of(start), start)
        moved = start.detach() + net(slope)
        used = moved.square().sum()
        if int(used) > power:
            moved = moved * (power / used).sqrt()
        loss = loss_of(moved)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return -float(loss.detach())


def speed(steps: int, sample: int) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """All at once against one after another, in one run and in turns: 8x8, 30 dB, single precision."""
    channels = precoders.rayleigh(FULL, 8, 8, rng=seeds.generator(0, "speed"))
    power = NOISE * (1 + 1e3)
    given = precoders.downlink(channels, power=power, noise=NOISE)
    real = torch.cat([channels.real, channels.imag], dim=2).float()
    form = lagd.RELEASED.of(steps=steps)
    turn = [0]

    def batch() -> Tensor:
        rng, net = seeds.generator(1, "speed"), lagd.network("linear", 8)
        return lagd.lagd(given, net, form, rng=rng, precision=torch.float32).rates

    def loop(looped: bool) -> float:
        turn[0] += 1
        return released(real[turn[0] % FULL], power, steps, looped=looped, rng=seeds.generator(1, "speed"))

    calls: dict[str, Callable[[], Any]] = {
        "all at once": batch,
        "one, user by user": partial(loop, True),
        "one, users one tensor": partial(loop, False),
    }
    batch()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(sample):
        for name, call in calls.items():
            began = time.process_time()
            call()
            seconds[name].append(time.process_time() - began)
    middle = {name: statistics.median(each) * (1 if name == "all at once" else FULL) for name, each in seconds.items()}
    rows = [{"speed": name, f"CPU s for {FULL}": value} for name, value in middle.items()]
    ratios = {
        "speedup": middle["one, user by user"] / middle["all at once"],
        "speedup_vectorised": middle["one, users one tensor"] / middle["all at once"],
    }
    return rows, {name: round(value, 1) for name, value in ratios.items()}


def stored(folder: Path, name: str) -> dict[str, Any]:
    """A file of golden/beamforming.

    Raises:
        FoundryError: it is not there.
    """
    path = folder / "golden" / "beamforming" / f"{name}.npz"
    if not path.is_file():
        raise FoundryError(f"{path} not found; give the folder of the stored channels as --data")
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def methods(given: Downlink, seed: int) -> dict[str, Callable[[], Tensor]]:
    """What is compared, each as a function that returns the rates."""
    start = precoders.mrt(given)

    def form(name: Form, **more: Any) -> Tensor:
        return lagd.beams(given, name, rng=seeds.generator(seed, "beamforming", name), **more).rates

    return {
        "mrt": lambda: precoders.rate(given, start),
        "rzf": lambda: precoders.rate(given, precoders.rzf(given)),
        "wmmse10": lambda: precoders.rate(given, precoders.wmmse(given, start, iterations=10)),
        "wmmse50": lambda: precoders.rate(given, precoders.wmmse(given, start, iterations=50)),
        "folded200": lambda: precoders.rate(given, precoders.wmmse_without_bisection(given, start, iterations=200)),
        "adam": partial(form, "adam"),
        "released": partial(form, "released"),
        "published": partial(form, "published", kind="mlp"),
        "stabilised": partial(form, "stabilised", kind="mlp"),
        "control": lambda: best_of(given, seed, steps=0),
        "control32": lambda: best_of(given, seed, steps=0, restarts=32),
        "best": lambda: best_of(given, seed),
    }


def best_of(given: Downlink, seed: int, **more: Any) -> Tensor:
    """The rates of the preset, from the same starts whatever else is said."""
    return lagd.best(given, rng=seeds.generator(seed, "beamforming", "best"), **more).rates


def added(rates: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """What the network adds to either control, and the standard error of that."""
    gains = {"": rates["best"] - rates["control"], "_32": rates["best"] - rates["control32"]}
    return {
        f"network_adds{key}": [round(float(gain.mean()), 5), round(float(gain.std() / len(gain) ** 0.5), 5)]
        for key, gain in gains.items()
    }


def fresh(folder: Path, name: str, seed: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """`best` and its control on new channels of a stored file's size, number and powers."""
    golden = stored(folder, name)
    channels = precoders.rayleigh(*golden["H"].shape, rng=seeds.generator(seed, "fresh", name))
    rows, figures = [], {}
    for ratio in SNRS:
        given = precoders.downlink(channels, power=float(golden[f"P_{ratio}"]), noise=NOISE)
        every = methods(given, seed)
        rates = {method: every[method]() for method in ("control", "control32", "best")}
        for method, found in rates.items():
            rows.append({"channels": f"{name} fresh", "snr": ratio, "method": method, "rate": float(found.mean())})
            figures[f"{name}.{ratio}.fresh.{method}"] = float(found.mean())
        figures |= {f"{name}.{ratio}.fresh.{key}": value for key, value in added(rates).items()}
    return rows, figures


def quality(folder: Path, name: str, seed: int) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, list[float]]]:
    """A row a method and SNR, the figures by their keys, and each method's seconds an instance."""
    golden = stored(folder, name)
    channels = torch.from_numpy(golden["H"])
    rows: list[dict[str, Any]] = []
    figures: dict[str, Any] = {}
    spent: dict[str, list[float]] = {}
    for ratio in SNRS:
        given = precoders.downlink(channels, power=float(golden[f"P_{ratio}"]), noise=NOISE)
        tens = (f"wsr_WMMSE50_best10rand_{ratio}", f"wsr_WMMSEfold200_best10rand_{ratio}")
        target = max(float(golden[key].mean()) for key in tens)
        every: dict[str, Tensor] = {}
        for method, call in methods(given, seed).items():
            began = time.process_time()
            rates = every[method] = call()
            taken = (time.process_time() - began) / len(channels)
            spent.setdefault(method, []).append(taken)
            mean = float(rates.mean())
            rows.append({"channels": name, "snr": ratio, "method": method, "rate": mean, "cpu_ms": 1e3 * taken})
            figures[f"{name}.{ratio}.{method}"] = mean
            if method == "wmmse10":
                theirs = golden[f"wsr_released_WMMSE10_{ratio}"]
                off = float(np.abs(rates.numpy()[: len(theirs)] - theirs).max())
                figures[f"{name}.{ratio}.wmmse10_off"] = round(off, 6)
        figures[f"{name}.{ratio}.target"] = target
        figures[f"{name}.{ratio}.over_target"] = figures[f"{name}.{ratio}.best"] - target
        figures |= {f"{name}.{ratio}.{key}": value for key, value in added(every).items()}
    return rows, figures, spent


def main() -> None:
    """Measure quality and speed; write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of starts and nets (default: %(default)s)")
    parser.add_argument("--sample", type=int, default=5, help="rounds of the speed's figure (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=500, help="of the speed's figure (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows, figures, panels = [], {}, {}
    for name in ("M4K4", "M8K8"):
        found, values, spent = quality(options.data, name, options.seed)
        rows += found
        figures |= values
        found, more = fresh(options.data, name, options.seed)
        rows += found
        figures |= more
        lines: dict[str, Line] = {
            method: (SNRS, [values[f"{name}.{ratio}.{method}"] for ratio in SNRS]) for method in spent
        }
        at_30 = {method: ([1e3 * times[-1]], [values[f"{name}.30.{method}"]]) for method, times in spent.items()}
        panels |= {f"SNR, dB ({name})": lines, f"CPU ms an instance, 30 dB ({name})": at_30}
    found, ratios = speed(options.steps, options.sample)
    figures |= ratios
    logarithmic = [title for title in panels if title.startswith("CPU")]
    rates_picture(table.RESULTS / "beamforming.png", panels, logarithmic=logarithmic)
    table.report("beamforming", [*rows, *found], threads=options.threads, **figures)


if __name__ == "__main__":
    table.run(main)

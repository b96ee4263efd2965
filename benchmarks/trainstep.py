"""One training step of DRN-S x4 by dual regression: ours against the authors' maths, in turns.

python -m benchmarks.trainstep               ten timed steps of each, then the losses after 200
python -m benchmarks.trainstep --steps 20    a quick look

The authors' step, as they wrote it: float32, NCHW, bicubic by interpolate, mean shifts as convolutions, an Adam for
each net. Ours is what stage `dual` runs, clipping and averaging included (the clip set too high to bind), in
the default precision and in float32. All start from the same weights, see the same batches (192 pixels a side, range
0..255, where the same weights are the same function) and have the authors' rates. On a GPU the figures hold the share
of the matmul peak, itself measured.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import table
from srfoundry.core.compute import Compute, channels_last, fast_bfloat16
from srfoundry.core.seeds import generator, redraw
from srfoundry.dual_regression.batch import Batch
from srfoundry.dual_regression.loss import loss_of
from srfoundry.dual_regression.settings import LossWeights
from srfoundry.dual_regression.unpaired import windows
from srfoundry.imaging import images, resize
from srfoundry.networks.sr.drn import DRN, RCAB, Down, Up
from srfoundry.networks.sr.duals import DualNet, DualNets
from srfoundry.training.optimiser import Optimisation
from srfoundry.training.settings import Descent

SCALE, WEIGHT, RATE, BETAS = 4, 0.1, 1e-4, (0.9, 0.999)
Step = Callable[[Batch], Tensor]


class Authors(nn.Module):
    """DRN's forward pass in the authors' operations, on a DRN's convolutions."""

    def __init__(self, net: DRN) -> None:
        super().__init__()
        self.net = net
        self.pool = nn.AdaptiveAvgPool2d(1)

    def block(self, block: RCAB, features: Tensor) -> Tensor:
        """A residual channel-attention block."""
        body = block.second(functional.relu(block.first(features), inplace=True))
        gate = torch.sigmoid(block.excite(functional.relu(block.squeeze(self.pool(body)), inplace=True)))
        return body * gate + features

    def forward(self, low: Tensor) -> list[Tensor]:
        """All images, smallest first."""
        net = self.net
        wide = functional.interpolate(low, scale_factor=SCALE, mode="bicubic", align_corners=False)
        features = net.head(net.subtract(wide))
        copies, found = [], []
        for down in net.downs:
            assert isinstance(down, Down)
            copies.append(features)
            features = down.expand(functional.leaky_relu(down.reduce(features), 0.2, inplace=True))
        found.append(net.add(net.tails[0](features)))
        for up, copied, tail in zip(net.ups, reversed(copies), net.tails[1:], strict=True):
            assert isinstance(up, Up)
            for block in up.blocks:
                assert isinstance(block, RCAB)
                features = self.block(block, features)
            features = up.merge(functional.pixel_shuffle(up.spread(features), up.step))
            features = torch.cat((features, copied), 1)
            found.append(net.add(tail(features)))
        return found


def authors(net: DRN, duals: DualNets, device: torch.device) -> Step:
    """The authors' training step, with an optimiser for each net."""
    primal, l1 = Authors(net).to(device), nn.L1Loss()
    duals = duals.to(device)
    trained = [weight for weight in net.parameters() if weight.requires_grad]
    optimisers = [torch.optim.Adam(each, lr=RATE, betas=BETAS) for each in (trained, *(d.parameters() for d in duals))]

    def step(batch: Batch) -> Tensor:
        wanted = [batch[factor].to(device) for factor in (4, 2, 1)]
        for optimiser in optimisers:
            optimiser.zero_grad()
        found = primal(wanted[0])
        total = l1(found[0], wanted[0])
        for image, target in zip(found[1:], wanted[1:], strict=True):
            total = total + l1(image, target)
        for dual, image, target in zip(duals, found[1:], wanted, strict=False):
            assert isinstance(dual, DualNet)
            low = dual.paint(functional.leaky_relu(dual.reduce(image), 0.2, inplace=True))
            total = total + WEIGHT * l1(low, target)
        total.backward()
        for optimiser in optimisers:
            optimiser.step()
        return total.detach()

    return step


def house(net: DRN, duals: DualNets, device: torch.device, precision: str) -> Step:
    """The step of stage `dual`."""
    net, duals = channels_last(net, device), duals.to(device)
    weights = LossWeights(dual_weight=WEIGHT, estimate_weight=0.0)
    loss = loss_of(duals, scale=SCALE, weights=weights, compute=Compute(device, precision))
    descent = Descent(steps=0, learning_rate=RATE, warmup=0, average=0.99, clip=1e9)  # the rate stays
    optimisation = Optimisation(net, duals, descent, betas=BETAS, fused=True)

    def step(batch: Batch) -> Tensor:
        total = optimisation.update(loss(net, batch), RATE)["total"]
        assert isinstance(total, Tensor)
        return total

    return step


def batches(count: int, size: int) -> list[dict[int, Tensor]]:
    """Batches of `count` patches of the bundled photographs with their MATLAB-bicubic reductions, range 0..255."""
    photographs = [images.read(path) for path in images.bundled()]
    photographs = [image for image in photographs if min(image.shape[-2:]) >= size]
    found = []
    for index in range(64):
        cut = windows(photographs, count=count, size=size, rng=generator(0, "trainstep", index))
        high = torch.stack([each.image for each in cut])
        lows = {factor: resize.cubic(high, 1 / factor).mul(255).round().clamp(0, 255) for factor in (2, 4)}
        found.append({1: high.mul(255).round(), **lows})
    return found


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of the device's best matrix product, the median of 20 of 8192 a side."""
    left, right = (torch.randn(8192, 8192, device=device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(20):
        torch.cuda.synchronize(device)
        began = time.perf_counter()
        left @ right
        torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return 2 * 8192**3 / statistics.median(seconds)


def shares(steps: Mapping[str, Step], batch: Batch, seconds: Mapping[str, float], device: torch.device) -> list[float]:
    """Which share of the matmul peak of its precision each step reaches."""
    found = []
    for name, step in steps.items():
        with FlopCounterMode(display=False) as counter:
            step(batch)
        dtype = torch.bfloat16 if "bfloat16" in name else torch.float32
        found.append(counter.get_total_flops() / seconds[name] / peak(device, dtype))
    return found


def main() -> None:
    """Time the steps in turns, then train on to compare the losses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200, help="steps after which the losses are compared (200)")
    parser.add_argument("--rounds", type=int, default=10, help="timed steps of each (10); they count as steps")
    parser.add_argument("--blocks", type=int, default=30, help="blocks a phase (DRN-S: 30)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads (default: all)")
    options = parser.parse_args()
    torch.backends.cudnn.allow_tf32 = False  # float32 is to mean float32 on a GPU, too
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net, duals = DRN(scale=SCALE, blocks=options.blocks, width=16, peak=255.0), DualNets(scale=SCALE, width=16)
    redraw(net, generator(0, "trainstep", "net"))
    redraw(duals, generator(0, "trainstep", "duals"))
    default = "bfloat16" if fast_bfloat16(device) else "float32"
    steps = {"authors float32": authors(copy.deepcopy(net), copy.deepcopy(duals), device)}
    for precision in dict.fromkeys((default, "float32")):
        steps[f"house {precision}"] = house(copy.deepcopy(net), copy.deepcopy(duals), device, precision)
    found, losses = batches(2, 48 * SCALE), {name: [] for name in steps}
    trained = dict.fromkeys(steps, 0)

    def one(name: str) -> None:
        losses[name].append(float(steps[name](found[trained[name] % len(found)])))  # float waits for a GPU
        trained[name] += 1

    timed = {name: (lambda name=name: one(name)) for name in steps}
    seconds = table.interleaved(timed, options.rounds)
    for name in steps:
        while trained[name] < options.steps:
            one(name)
    middle = {name: statistics.median(taken) for name, taken in seconds.items()}
    at = min(map(len, losses.values()))
    last = {name: statistics.mean(series[max(0, at - 20) : at]) for name, series in losses.items()}
    first = "authors float32"
    rows: list[dict[str, Any]] = [
        {
            "step": name,
            **table.spread(seconds[name]),
            "ratio": round(middle[first] / middle[name], 3),
            "loss": round(last[name], 4),
            "off": round(last[name] / last[first] - 1, 5),
        }
        for name in steps
    ]
    if device.type == "cuda":
        for row, share in zip(rows, shares(steps, found[0], middle, device), strict=True):
            row["share_of_peak"] = round(share, 3)
    table.report(
        "trainstep",
        rows,
        threads=options.threads,
        train_step_speedup=rows[1]["ratio"],
        train_step_speedup_float32=rows[-1]["ratio"],
        loss_off=rows[1]["off"],
        steps=at,
        precision=default,
        losses=f"means of the last {min(20, at)} steps",
    )


if __name__ == "__main__":
    table.run(main)

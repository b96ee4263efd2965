"""MSGC on classification, small: a ResNet on scikit-learn's 8x8 digits, half of its multiply-adds removed.

Three nets go on from one dense one for equally long: itself (the control), static masks and sample-wise gates (as
published: a hinge on the drawn multiply-adds, whose target falls over the first half). A part of `benchmarks.msgc`.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks._classifiers import ResNet, start
from srfoundry.compression.msgc.conversion import convert
from srfoundry.compression.msgc.cost import Count, count_of
from srfoundry.compression.msgc.mask_search import MaskSearch, allowed_share
from srfoundry.compression.msgc.masked_conv import sampling, wrap
from srfoundry.compression.settings import BudgetTarget, SearchDescent
from srfoundry.core.seeds import Stream, generator
from srfoundry.core.state import unkept
from srfoundry.networks.sr.multiplications import multiplications
from srfoundry.training.schedules import cosine

BATCH, RATE, TUNE_RATE, HINGE = 64, 3e-3, 1e-3, 30.0  # HINGE: the release's weight of the budget


class Digits:
    """Images and labels, a third held out; the split is the seed's."""

    def __init__(self, seed: int) -> None:
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        order = torch.randperm(len(labels), generator=generator(seed, "digits"))
        self.images = (torch.from_numpy(images).float() / 16).reshape(-1, 1, 8, 8)[order]
        self.labels, self.seed = torch.from_numpy(labels)[order], seed
        self.split = 2 * len(labels) // 3

    def batch(self, index: int) -> dict[int, Tensor]:
        """Images under 0, labels under 1."""
        chosen = torch.randint(self.split, (BATCH,), generator=generator(self.seed, "batch", index))
        return {0: self.images[chosen], 1: self.labels[chosen]}

    def accuracy(self, net: nn.Module) -> float:
        """Per cent of the held-out images."""
        with torch.no_grad():
            found = net.eval()(self.images[self.split :]).argmax(1)
        return float((found == self.labels[self.split :]).float().mean()) * 100


def loss(net: nn.Module, batch: Any) -> dict[str, Tensor]:
    """Cross-entropy with the labels smoothed by a tenth, as published."""
    return {"total": functional.cross_entropy(net(batch[0]), batch[1], label_smoothing=0.1)}


def tune(
    net: nn.Module, digits: Digits, *, steps: int, rate: float, count: Count | None = None, left: float = 1.0
) -> None:
    """Train in place; with a count, sample-wise gates are drawn and held to `left` of it."""
    gates = [weight for name, weight in net.named_parameters() if ".gate." in name]
    others = [weight for name, weight in net.named_parameters() if ".gate." not in name]
    # gates learn five times as fast, as published
    groups = [{"params": others, "factor": 1.0}, {"params": gates, "factor": 5.0}]
    optimiser = torch.optim.Adam(groups, lr=rate)
    pairs: Any = net.layer_pairs()  # pyright: ignore
    net.train()
    for index in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = group["factor"] * cosine(index, steps, rate)
        if count is None:
            value = loss(net, digits.batch(index))["total"]
        else:
            with sampling(net, generator(digits.seed, "gates", index)) as drawn:
                value = loss(net, digits.batch(index))["total"]
            share = 1 - count.removed(pairs, drawn)
            value = value + HINGE * functional.relu(share - allowed_share(index, steps, left)).float()
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        optimiser.step()


def compare(seed: int, *, steps: int, remove: float = 0.5) -> list[dict[str, Any]]:
    """Rows: accuracy and share of the dense multiply-adds of each net."""
    digits = Digits(seed)
    net = ResNet(classes=10, width=16, stages=(1, 1, 1), channels=1, small=True)
    start(net, generator(seed, "net"))
    tune(net, digits, steps=steps, rate=RATE)
    pairs, one = net.layer_pairs(), digits.images[:1]
    count = count_of(net.eval(), pairs, groups=4, low=one)
    control, masked = copy.deepcopy(net), wrap(net, pairs)
    tune(control, digits, steps=steps, rate=TUNE_RATE)
    budget = BudgetTarget(measure="macs", remove=remove, tolerance=0.01, multiple=4)
    descent = SearchDescent(steps=steps // 2, learning_rate=TUNE_RATE, width_rate=30 / steps, temperature=0.1, clip=1.0)
    stream = Stream(seed, "masks")
    search = MaskSearch(masked.train(), pairs, loss, count, budget, descent, trained=[], stream=stream)
    with unkept() as resumption:
        search.run(lambda index: [(digits.batch(index), 1.0)], resumption)
    static = convert(masked.eval(), pairs)
    tune(static, digits, steps=steps - steps // 2, rate=TUNE_RATE)
    gated = wrap(net, pairs, sampled=True, rng=generator(seed, "gates"))
    tune(gated, digits, steps=steps, rate=TUNE_RATE, count=count, left=1 - remove)
    with sampling(gated.eval()) as masks, torch.no_grad():
        gated(digits.images[digits.split :])
    shares = {
        "dense": 1.0,
        "static": multiplications(static.eval(), one) / count.total,
        "sample-wise": 1 - float(count.removed(pairs, masks)),
    }
    nets = {"dense": control, "static": static, "sample-wise": gated}
    return [
        {"net": name, "seed": seed, "accuracy": digits.accuracy(nets[name]), "macs_share": shares[name]}
        for name in nets
    ]

"""Masks trained under a budget: it is met, a killed search goes on, and nothing pulls masks open."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from srfoundry.compression.msgc.cost import count_of
from srfoundry.compression.msgc.layer_pairs import Choice, pairs_of
from srfoundry.compression.msgc.mask_search import MaskSearch, allowed_share
from srfoundry.compression.msgc.masked_conv import (
    MSGConv2d,
    wrap,
)
from srfoundry.core.compute import Compute
from srfoundry.core.seeds import Stream, generator
from srfoundry.core.state import Resumption
from srfoundry.dual_regression.batches import draw
from srfoundry.dual_regression.loss import loss_of
from srfoundry.training.settings import PatchDraw
from tests.closed import CPU, loss_weights, nets, photographs
from tests.masks import LOW, edsr, thresholded
from tests.searches import along, in_one_part, wanted


def test_a_budget_is_met_by_trained_masks_and_a_killed_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("srfoundry.training.loop.SAVE_SECONDS", 0.0)
    patches = photographs(tmp_path / "set")

    def run(folder: str, stop: int | None = None) -> tuple[list[Choice], list[dict[str, float]], nn.Module]:
        net, duals = nets()
        pairs = pairs_of(net.units())
        masked = wrap(net, pairs)

        def log(step: int, _values: dict[str, float]) -> None:
            if step == stop:
                raise KeyboardInterrupt

        draws = PatchDraw(patch=16, octave=0.0, batch=2)
        search = MaskSearch(
            masked,
            pairs,
            loss_of(duals, scale=2, weights=loss_weights(0.1), compute=Compute(CPU)),
            count_of(net, pairs, groups=4, low=None),
            wanted(0.3, 0.02, multiple=2),
            along(24, width_rate=0.2, temperature=0.05),
            trained=[duals],
            stream=Stream(1, "compress"),
        )
        resumption = Resumption(tmp_path / folder, "k", log)
        choices, history = search.run(
            in_one_part(lambda i: draw(patches, draws, scale=2, rng=generator(1, i))), resumption
        )
        return choices, history, masked

    choices, history, masked = run("whole")
    assert history[-1]["removed"] >= 0.3, "in expectation"
    assert all(row["price"] >= 0 for row in history), "nothing pulls masks open"
    assert history[0]["undecided"] > 0.3 and history[-1]["undecided"] < 0.1, "masks became decisions"
    net = nets()[0]
    pairs = pairs_of(net.units())
    removed = float(count_of(net, pairs, groups=4, low=None).removed(pairs, thresholded(masked)))
    assert 0.3 <= removed <= 0.32, "and when it is settled"
    with pytest.raises(KeyboardInterrupt):
        run("cut", stop=12)
    again, curve, resumed = run("cut")
    for one, other in zip(choices, again, strict=True):
        assert torch.equal(one.inputs, other.inputs) and torch.equal(one.groups, other.groups)
    assert curve == history
    for name, value in masked.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert [allowed_share(step, 100, 0.5) for step in (0, 25, 50, 99)] == [1.0, 0.75, 0.5, 0.5]


def test_the_budget_does_not_pull_masks_open(tmp_path: Path) -> None:
    """More is gone than the target of the moment asks: without a slope of the loss, logits stay where they are."""
    net = edsr(8)
    pairs = pairs_of(net.units())
    masked = wrap(net, pairs)
    layers = [layer for layer in masked.modules() if isinstance(layer, MSGConv2d)]
    before = [layer.logits.detach().clone() for layer in layers if layer.logits is not None]
    seen: list[Tensor] = []

    def loss(net: Any, _batch: Any) -> dict[str, Tensor]:
        seen.extend(layer.logits.detach().clone() for layer in layers)  # pyright: ignore
        return {"total": 1 + 0.0 * net(LOW).sum()}

    count, target = count_of(net, pairs, groups=4, low=None), wanted(0.01, 0.05, multiple=2)
    descent = along(3, width_rate=0.2, temperature=1.0)
    search = MaskSearch(masked, pairs, loss, count, target, descent, trained=[], stream=Stream(1, "m"))
    search.run(in_one_part(lambda _: {}), Resumption(tmp_path / "s", ""))
    for number, value in enumerate(seen):
        assert torch.equal(value, before[number % len(before)])

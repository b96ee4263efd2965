"""A network that estimates its input's blur is searched, cut, selected, tuned and masked like any other."""

import dataclasses
import warnings
from pathlib import Path
from typing import Literal

import pytest
import torch

from srfoundry.compression.compressors import COMPRESSORS
from srfoundry.compression.member import make_member
from srfoundry.compression.recipe import Conditions
from srfoundry.compression.settings import Compression, GreedySelection, Searching, Tuning, TuningWeights
from srfoundry.core.compute import Compute
from srfoundry.core.seeds import Stream, generator, redraw
from srfoundry.core.state import Resumption
from srfoundry.networks.sr.conditioned import Conditioned, start_at_bicubic
from srfoundry.networks.sr.duals import StraightDual
from srfoundry.networks.sr.network import EstimatingNetwork
from srfoundry.networks.zoo import cards
from srfoundry.training.settings import Descent, PatchDraw
from tests.closed import CPU, loss_weights, photographs, ranges
from tests.searches import along, modelled, wanted

ARCH = {"name": "conditioned", "scale": 2, "blocks": 2, "width": 8, "taps": 7}
LOW = torch.rand(1, 3, 12, 16, generator=generator(0, "low"))


def opened() -> tuple[Conditioned, StraightDual]:
    """A fresh dense net with its dual map."""
    net, duals = Conditioned(scale=2, blocks=2, width=8, taps=7), StraightDual(scale=2, width=4)
    redraw(net, generator(1, "primal"))
    start_at_bicubic(net)
    redraw(duals, generator(1, "dual"))
    return net, duals


@pytest.mark.parametrize(
    ("method", "order", "start"), [("drc", "first", "dual"), ("drc", "second", "search"), ("msgc", "first", "search")]
)
def test_it_becomes_a_smaller_one(
    tmp_path: Path, method: str, order: Literal["first", "second"], start: Literal["search", "dual"]
) -> None:
    draws, degradation = PatchDraw(patch=32, octave=0.0, batch=2), ranges("photographs")
    searching = Searching(
        model=dataclasses.replace(modelled(importance="activation"), order=order),
        descent=along(2),
        weights=loss_weights(0.1),
        draws=draws,
        degradation=degradation,
    )
    tuning = Tuning(
        selection=GreedySelection(
            per_round=8, select_batches=1, select_batch=2, select_rate=1e-2, feature_weight=255.0
        ),
        weights=TuningWeights(dual_weight=0.1, estimate_weight=0.02, teacher_weight=255.0),
        draws=draws,
        descent=Descent(steps=2, learning_rate=1e-3, warmup=1, average=0.5, clip=1.0),
        degradation=degradation,
    )
    on = Conditions(
        patches=photographs(tmp_path / "train"),
        compute=Compute(CPU),
        stream=Stream(1, "photo_compress@50"),
        resumption=Resumption(tmp_path / "state", "k"),
    )
    how = Compression(target=wanted(0.1, 0.05, multiple=2), searching=searching, groups=4)
    assert method in COMPRESSORS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = make_member(opened, method, how, tuning, on, start=start, validation=on.patches)
    net = made.member.net
    assert isinstance(net, EstimatingNetwork) and 0.1 <= made.member.scores["removed_fraction"] <= 0.15
    assert {"kernel", "noise"} <= set(made.member.history[0])
    path = tmp_path / "n.safetensors"
    cards.save(path, net, arch={**ARCH, **made.found.arch}, scale=2, made_by="photo_compress", params_hash="p")
    loaded, _ = cards.load(path)
    assert isinstance(loaded, EstimatingNetwork)
    with torch.no_grad():
        torch.testing.assert_close(loaded(LOW), net(LOW), atol=0, rtol=0)
        ours, theirs = (each.estimate(each.prepare(LOW)).kernel for each in (loaded, net))
    assert torch.equal(ours, theirs)

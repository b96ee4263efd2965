"""The recipe: a latency budget is looked at again with the clock, no model's bytes know, and its parts follow on."""

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from pipelines.support.compressing import untimed
from srfoundry.compression import recipe
from srfoundry.compression.budget import Budget, ladders_of
from srfoundry.compression.drc import search_widths
from srfoundry.compression.recipe import SIDE, Conditions, Smaller
from srfoundry.compression.settings import Searching
from srfoundry.core.compute import Compute
from srfoundry.core.seeds import Stream
from srfoundry.core.state import Resumption
from srfoundry.networks.sr.multiplications import multiplications
from srfoundry.training.settings import PatchDraw
from tests.closed import CPU, loss_weights, nets, photographs
from tests.searches import along, modelled, wanted

SEARCHING = Searching(
    model=modelled(importance="activation"),
    descent=along(2),
    weights=loss_weights(0.1),
    draws=PatchDraw(patch=16, octave=0.0, batch=2),
)


def searched(
    root: Path, monkeypatch: pytest.MonkeyPatch, measure: Literal["parameters", "latency"], *, busy: bool
) -> tuple[Smaller, str]:
    """The smaller net, and what was warned of; a second is a million multiply-adds, or all the same."""
    net, duals = nets()
    now, made = [0.0], list[nn.Module]()
    exact = Budget.multiplications(net, net.units(), ladders_of(net, net.units(), 4), torch.zeros(1, 3, SIDE, SIDE))
    on = Conditions(
        patches=photographs(root / "train"),
        compute=Compute(CPU),
        stream=Stream(1, "search"),
        resumption=Resumption(root / "search.pt", "k"),
        threads=3,
    )
    kept = {"key": "k", **asdict(exact)}  # measured before, when the machine was at rest
    (root / "search.pt.latency").write_text(json.dumps(kept))

    def runner(each: nn.Module, low: Tensor, *, threads: int) -> Callable[[], object]:
        assert threads == 3 and low.shape[-2:] == (SIDE, SIDE)
        made.append(each)
        spent = 1.0 if busy else multiplications(each, low) / 1e6
        return lambda: now.__setitem__(0, now[0] + spent)

    monkeypatch.setattr(recipe, "onnx_runner", runner)
    monkeypatch.setattr("srfoundry.compression.latency.time", SimpleNamespace(perf_counter=lambda: now[0]))
    target = replace(wanted(0.3, 0.05), measure=measure)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = search_widths(net, duals, target, SEARCHING, on)
    assert len(made) == (2 if measure == "latency" else 0)
    return found, "\n".join(str(each.message) for each in said)


def test_a_latency_that_was_promised_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the prediction in the metrics; a busy machine is warned of, and the net is the same, as is its card."""
    rest, said = searched(tmp_path / "rest", monkeypatch, "latency", busy=False)
    assert not said and rest.scores["latency_ratio"] == pytest.approx(rest.scores["latency_ratio_predicted"])
    assert 0.64 <= rest.scores["latency_ratio"] <= 0.7
    busy, said = searched(tmp_path / "busy", monkeypatch, "latency", busy=True)
    assert busy.scores["latency_ratio"] == 1.0 and "got 0.0% measured" in said and said.count("\n") == 0
    for one, other in zip(rest.net.parameters(), busy.net.parameters(), strict=True):
        assert torch.equal(one, other)
    cards = [untimed({**each.scores, "search": each.scores}) for each in (rest, busy)]
    assert cards[0] == cards[1] and "latency_ratio" not in json.dumps(cards[0])
    assert cards[0]["search"]["widths"] == rest.scores["widths"]


def test_other_measures_need_no_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, said = searched(tmp_path, monkeypatch, "parameters", busy=True)
    assert not said and not [name for name in found.scores if "latency" in name]


def test_a_search_with_nothing_to_choose_warns(tmp_path: Path) -> None:
    """Every layer has to be at its narrowest."""
    net, duals = nets()
    narrowest = Budget.parameters(net, net.units(), ladders_of(net, net.units(), 4)).most()
    on = Conditions(
        patches=photographs(tmp_path / "train"),
        compute=Compute(CPU),
        stream=Stream(1, "search"),
        resumption=Resumption(tmp_path / "search.pt", "k"),
    )
    with pytest.warns(UserWarning, match="got 0 of 3 layers that can keep more than their narrowest width"):
        found = search_widths(net, duals, wanted(narrowest - 1e-3, 0.01), SEARCHING, on)
    assert found.widths == [4, 4, 4]


def test_the_curve_of_a_later_part_goes_on(tmp_path: Path) -> None:
    """Selection's and tuning's points stand behind the search's; each part has a state of its own."""
    seen: list[int] = []
    on = Conditions(
        patches=photographs(tmp_path / "train"),
        compute=Compute(CPU),
        stream=Stream(1, "compress"),
        resumption=Resumption(tmp_path / "a.pt", "k", lambda step, _values: seen.append(step)),
    )
    later = on.after(10).after(3).beside("tuning")
    later.resumption.log(2, {})
    assert seen == [15]
    assert later.resumption.path.name == "a.pt.tuning"

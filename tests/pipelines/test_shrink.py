"""What the compressing stages share: a latency budget is looked at again with the clock, and no model's bytes know."""

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from pipelines.support import shrink
from pipelines.support.stage import Stage
from srfoundry.compression.budget import Budget, ladders_of
from srfoundry.config import params
from srfoundry.networks.sr.multiplications import multiplications
from srfoundry.networks.zoo.cards import read_card
from tests.closed import nets, photographs
from tests.conftest import REPO

SECTION = {"patch": 16, "batch": 2, "octave": 0.0, "steps": 2, "multiple": 4, "remove": 0.3, "tolerance": 0.05}


def searched(
    root: Path, monkeypatch: pytest.MonkeyPatch, *, measure: str, busy: bool
) -> tuple[bytes, dict[str, object], str]:
    """The stage's model, its metrics, and what it warned of; a second is a million multiply-adds, or all the same."""
    photographs(root / "data" / "synthesize" / "train")
    (root / "dvc.yaml").write_text("stages:\n  search: {cmd: search, params: [shared, search], deps: []}\n")
    values = params.load(REPO / "params.yaml")
    section = values.search.model_copy(update={**SECTION, "measure": measure})
    shared = values.shared.model_copy(update={"device": "cpu", "precision": "float32", "scale": 2})
    stage = Stage("search", root, values.model_copy(update={"search": section, "shared": shared}))
    net, duals = nets()
    units, now, made = net.units(), [0.0], list[nn.Module]()
    exact = Budget.multiplications(net, units, ladders_of(net, units, 4), torch.zeros(1, 3, shrink.SIDE, shrink.SIDE))
    stage.checkpoint.parent.mkdir()
    kept = {"key": stage.key, **asdict(exact)}  # measured before, when the machine was at rest
    stage.checkpoint.with_name("search.pt.latency").write_text(json.dumps(kept))

    def runner(each: nn.Module, low: Tensor, *, threads: int) -> Callable[[], object]:
        assert threads == shared.threads and low.shape[-2:] == (shrink.SIDE, shrink.SIDE)
        made.append(each)
        spent = 1.0 if busy else multiplications(each, low) / 1e6
        return lambda: now.__setitem__(0, now[0] + spent)

    monkeypatch.setattr(shrink, "onnx_runner", runner)
    monkeypatch.setattr("srfoundry.compression.latency.time", SimpleNamespace(perf_counter=lambda: now[0]))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = shrink.find_widths(stage, section, net, duals, remove=0.3, multiple=4, steps=2, state=stage.checkpoint)
    scores = found.scores([unit.name for unit in units], section, 0.3)
    assert len(made) == (2 if measure == "latency" else 0)
    shrink.save(stage, "models/search.safetensors", found.cut(net), {}, {**scores, "search": scores})
    return (root / "models" / "search.safetensors").read_bytes(), scores, "\n".join(str(each.message) for each in said)


def test_a_latency_that_was_promised_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the prediction in the metrics; a busy machine is told of, and the model is the same to the byte."""
    rest, scores, said = searched(tmp_path / "rest", monkeypatch, measure="latency", busy=False)
    assert not said and scores["latency_ratio"] == pytest.approx(scores["latency_ratio_predicted"])
    assert 0.64 <= float(str(scores["latency_ratio"])) <= 0.7
    busy, scores, said = searched(tmp_path / "busy", monkeypatch, measure="latency", busy=True)
    assert scores["latency_ratio"] == 1.0 and "got 0.0% measured" in said and said.count("\n") == 0
    assert rest == busy
    card = read_card(tmp_path / "busy" / "models" / "search.safetensors").metrics
    assert "latency" not in "".join([*card, *card["search"]]) and card["search"]["widths"] == scores["widths"]


def test_other_measures_need_no_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, scores, said = searched(tmp_path, monkeypatch, measure="parameters", busy=True)
    assert not said and not [name for name in scores if "latency" in name]

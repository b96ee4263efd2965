"""dvc.yaml as a graph: whatever stands there, it is read or refused by one line."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.support import compressing, telemetry
from pipelines.support.graph import Graph
from pipelines.support.place import Place
from pipelines.support.stage import Stage
from srfoundry.config import params
from srfoundry.core.errors import FoundryError
from srfoundry.networks.zoo import cards
from srfoundry.runtime.session import OnnxCard
from srfoundry.tracking import registering
from tests import tiny
from tests.conftest import REPO
from tests.shipped import SHIPPED

VALUES = params.load(SHIPPED)
CARD = OnnxCard("pruned50", tiny.ARCH, 2, 3, [0.0, 1.0], 1, 64, 8, 0, 13, {}, "compress@50", "p", "d")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stages: 3", "stages must be"),
        ("stages: [a]", "stages must be"),
        ("stages: {a: 1}", "stages.a must be"),
        ("stages: {a: {deps: 3}}", "stages.a.deps must be"),
        ("stages: {a: {outs: [[b]]}}", "stages.a.outs must be"),
        ("stages: {a: {matrix: {k: 3}}}", "matrix of a must hold lists"),
        ("stages: {a: {matrix: {" + ", ".join(f"k{n}: [1, 2]" for n in range(40)) + "}}}", "matrix of a"),
        ("stages: {a: {deps: [b], outs: [c]}, d: {deps: [c], outs: [b]}}", "wait for each other"),
        ("- a", "dvc.yaml: it must be"),
        ("stages: {a: {deps: [2020-01-01]}}", "got a date"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "dvc.yaml").write_text(text)
    with pytest.raises(FoundryError, match=said) as caught:
        Graph(tmp_path).order()
    assert len(str(caught.value).splitlines()) == 1


def test_strange_names_are_only_not_there(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("shared: 3\n")
    (tmp_path / "dvc.yaml").write_text("stages: {a: {cmd: x, deps: ['${shared.x}/" + "y" * 5000 + "', {}]}}")
    graph = Graph(tmp_path)
    assert graph.order() == ["a"] and len(graph.inputs("a")) == 2
    with pytest.raises(FoundryError, match="is not there"):
        graph.digests("a")


def test_a_path_lies_in_a_folder_by_its_parts(tmp_path: Path) -> None:
    stages = "{a: {outs: [data/x]}, b: {deps: [data/x/one, data/xy], outs: [m]}, c: {deps: [data/xy]}}"
    (tmp_path / "dvc.yaml").write_text(f"stages: {stages}")
    graph = Graph(tmp_path)
    assert graph.parents("b") == ["a"] and graph.parents("c") == []


def changed(section: str, name: str, **values: object) -> str:
    """The hash of a stage's values once a section has others."""
    whole = VALUES.values()
    whole[section] |= values
    return Graph(REPO, aside=name).params_hash(name, params.check(whole, "here"))


def test_run_and_registered_version_bear_one_hash(tmp_path: Path) -> None:
    """So that the run of a version is found by it: also where DVC has restored what it made."""
    stage = Stage("compress@50", REPO, VALUES)
    stage.folder = tmp_path
    compressing.save_net(stage, "n.safetensors", tiny.net(), tiny.ARCH, {})
    card = cards.read_card(tmp_path / "n.safetensors")
    place = Place.of(REPO)
    run = telemetry.opening("compress@50", place, VALUES, key="k", digests={})
    later = telemetry.opening("export", place, VALUES, key="k", digests={})
    restored = {each["stage"]: each for each in later["above"]}
    version = registering._tags(replace(CARD, params_hash=card.params_hash), "pruned50")
    assert len(card.params_hash) == 16
    assert version["params.hash"] == run["tags"]["params.hash"] == restored["compress@50"]["tags"]["params.hash"]


def test_hash_of_values_is_of_all_that_make_the_file() -> None:
    """The same data and values give the same file: of sections that a stage lists, and of those above it, too."""
    assert changed("shared", "compress@50") != changed("shared", "compress@70")
    for name in ("pretrain", "metatrain", "nonblind", "unfolded", "dual", "compress@50"):
        assert changed("shared", name) == changed("distributed", name, processes=1), name
        assert changed("shared", name) != changed("distributed", name, processes=2), name
        assert changed("shared", name) == changed("export", name, tile=64), name
        assert changed("shared", name) == changed("synthesize", name, folder="~/pictures"), f"{name}: data has a hash"
    assert changed("shared", "fusion") != changed("estimate", "fusion", passes=1)
    assert changed("shared", "prune") != changed("degrade", "prune", clean=0.1)
    assert changed("shared", "prune") != changed("dual", "prune", steps=1), "the net that it makes smaller"
    assert changed("shared", "dual") == changed("search", "dual", steps=1)


def test_a_lock_that_is_being_written_is_read_again(tmp_path: Path) -> None:
    """DVC writes it in place, while another stage may start."""
    (tmp_path / "dvc.yaml").write_text("stages:\n  dual:\n    cmd: python -m dual\n")
    whole = "schema: '2.0'\nstages:\n  dual:\n    cmd: python -m dual\n"
    (tmp_path / "dvc.lock").write_text(whole[:-8] + "\n  x")
    threading.Timer(0.3, (tmp_path / "dvc.lock").write_text, (whole,)).start()
    assert Graph(tmp_path).lock == {"dual": {"cmd": "python -m dual"}}

"""dvc.yaml as a graph: whatever stands there, it is read or refused by one line."""

from pathlib import Path

import pytest

from pipelines.support.graph import Graph
from srfoundry.core.errors import FoundryError


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

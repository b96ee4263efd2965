"""The members of the family are the same wherever they are named, for a further one stands in all these places."""

import re

from pipelines.support.graph import Graph
from pipelines.support.real_photographs import SHOWN
from pipelines.support.report.figures import KEY_FIGURES
from srfoundry.cli import comparing, help_texts
from srfoundry.networks.zoo import family
from srfoundry.runtime import chooser
from srfoundry.tracking.registering import ALIASES
from tests.conftest import REPO

FILES = {f"models/{name}.safetensors" for name in family.FAMILY.values()}


def test_the_graph_makes_scores_and_exports_every_member() -> None:
    graph = Graph(REPO)
    made = {path for stage in graph.stages for path in graph.outputs(stage) if path.startswith("models/")}
    assert FILES <= made, "a member without a stage"
    further = {path for path in made if re.fullmatch(r"models/\w+_\d+\.safetensors", path)}
    assert further <= FILES, "a stage of the matrix without a member in networks/zoo/family.py"
    assert FILES <= set(graph.inputs("evaluate")) and FILES <= set(graph.inputs("export"))


def test_every_member_but_the_dense_one_has_an_alias() -> None:
    plain = [name for name in ALIASES if "_" not in name]
    assert plain == [name for name in family.FAMILY if name != "dual"]
    assert {name.partition("_")[0] for name in ALIASES if "_" in name} <= set(family.REDUCED)
    assert len(set(ALIASES.values())) == len(ALIASES)
    assert re.findall(r"(\w+)\.onnx", help_texts.REGISTER) == plain


def test_who_names_members_names_some_that_there_are() -> None:
    assert set(family.COMPARED) | set(family.REDUCED) <= set(family.FAMILY)
    assert chooser.PHOTO == tuple(family.PHOTO) and set(chooser.CLEAN) <= {ALIASES["pruned"], *family.CLEAN}
    assert {name.removeprefix("exports/").removesuffix(".onnx") for name in comparing.MEMBERS} <= set(family.FAMILY)
    assert SHOWN.items() <= family.FAMILY.items()
    shown = [name.split(".")[1] for _, _, name in KEY_FIGURES if name.startswith("bicubic.")]
    assert shown == list(family.CLEAN)

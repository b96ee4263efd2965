"""One word, five places; inputs complete, and none in vain: what keeps a stage findable and its results true.

Layers, cycles and who may import what stand in pyproject.toml, for import-linter.
"""

import ast
import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipelines.support.graph import ALWAYS, ASIDE, Graph, folder_of, section_of
from srfoundry.config.params import Params
from tests.conftest import REPO
from tests.inputs import closure, imports, is_imported, is_input, unlisted

STAGES = list(dict.fromkeys(section_of(entry) for entry in Graph(REPO).stages if entry != ALWAYS))
BESIDE = sorted(path.parent.name for path in (REPO / ASIDE).glob("*/dvc.yaml"))  # stages with a DVC file of their own
FOR_SEVERAL = {"shared", "distributed", "degrade"}  # sections that are no stage's own
WHOLE = {  # sections that a stage reads whole beside its own: it is as they say, but for what its own says otherwise
    **dict.fromkeys(["dual", "search", "prune"], {"degrade"}),
    "compress": {"search", "prune", "degrade"},
    "photo": {"dual", "degrade"},
    "fusion": {"estimate"},
    "photo_compress": {"photo", "compress", "search", "prune", "degrade"},
}
VERSIONS = "results/environment/versions.json"
SOURCE = REPO / "src" / "srfoundry"
MOST_INPUTS, MOST_LINES, MOST_PARAMETERS = 9, 32, 8


def entries(stage: str) -> list[str]:
    """What dvc.yaml calls a stage: one name, or one for each value of its matrix."""
    return [entry for entry in Graph(REPO, aside=stage).stages if section_of(entry) == stage]


def modules() -> list[Path]:
    """All library files."""
    return sorted(SOURCE.rglob("*.py"))


def test_stage_is_one_word_in_five_places() -> None:
    """dvc.yaml, pipelines/, the function, params.yaml and the sections' classes name the same stages."""
    graph = Graph(REPO)
    stages = {entry: stage for entry, stage in graph.stages.items() if entry != ALWAYS}  # it reads no values
    assert {path.stem for path in (REPO / "pipelines").glob("*.py")} == {"__init__", ALWAYS, *STAGES, *BESIDE}
    assert set(YAML(typ="safe").load((REPO / "params.yaml").read_text())) == {*FOR_SEVERAL, *STAGES, *BESIDE}
    assert set(Params.model_fields) == {*FOR_SEVERAL, *STAGES, *BESIDE}
    for entry, stage in stages.items():
        name, _, item = entry.partition("@")
        tree = ast.parse((REPO / "pipelines" / f"{name}.py").read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name
        options = "".join(f" --{key} {item}" for key in graph.matrix(name))
        assert stage["cmd"] == f"python -m pipelines.{name}{options}"
        assert stage["params"][:2] == ["shared", name], f"{name}: its own section; single values of others may follow"
        whole = {value for value in stage["params"][2:] if "." not in value}
        trains = {"distributed"} if "distributed=True" in (REPO / "pipelines" / f"{name}.py").read_text() else set()
        assert whole == WHOLE.get(name, set()) | trains, f"{name}: whole sections of others"
        assert f"results/{folder_of(entry)}/metrics.json" in graph.outputs(entry)


@pytest.mark.parametrize("stage", BESIDE)
def test_stage_beside_the_graph_is_none_of_it(stage: str) -> None:
    """It has its own DVC file, works in the same folder, and nothing that `dvc repro` runs needs it."""
    graph, found = Graph(REPO), Graph(REPO, aside=stage)
    assert entries(stage) == [stage] and stage not in graph.stages
    assert found.stages[stage]["wdir"] == "../.." and found.stages[stage]["cmd"] == f"python -m pipelines.{stage}"
    assert found.stages[stage]["params"][:2] == ["shared", stage]
    assert f"results/{stage}/metrics.json" in found.outputs(stage)
    assert not {path for name in graph.stages for path in graph.inputs(name)} & set(found.outputs(stage))


@pytest.mark.parametrize("stage", ["", *BESIDE])
def test_a_lock_in_git_names_todays_inputs(stage: str) -> None:
    """One of a run before the paths were others holds for no results, and none of its stages is ever up to date.

    Of the stages beside the graph, which nothing runs by itself, it is best left out.
    """
    lock = f"{ASIDE}/{stage}/dvc.lock" if stage else "dvc.lock"
    if not subprocess.run(["git", "ls-files", lock], cwd=REPO, capture_output=True, check=False).stdout:
        return
    graph = Graph(REPO, aside=stage)
    for name in entries(stage) if stage else graph.stages:
        known = graph.lock.get(name, {})
        assert known, f"{lock} does not know {name}; run: dvc repro"
        assert {each["path"] for each in known.get("deps", [])} == set(graph.inputs(name)), f"{lock}: inputs of {name}"
        assert known["cmd"] == graph.stages[name]["cmd"], f"{lock}: command of {name}"
        assert {each["path"] for each in known["outs"]} == set(graph.outputs(name)), f"{lock}: outputs of {name}"


def test_a_graph_that_is_named_is_there() -> None:
    """Wherever a person reads `dvc repro PATH`."""
    pages = [REPO / "README.md", *(path for place in ("docs", "params") for path in (REPO / place).rglob("*.*"))]
    pages += [path for place in ("src", "pipelines", "graphs") for path in (REPO / place).rglob("*.*")]
    for page in (page for page in pages if page.suffix in (".md", ".yaml", ".py")):
        for path in re.findall(r"dvc repro ([a-z_/]+/dvc\.yaml)", page.read_text()):
            assert (REPO / path).is_file(), f"{page}: {path}"


@pytest.mark.parametrize("stage", [*STAGES, *BESIDE])
def test_inputs_hold_all_code_of_the_stage(stage: str) -> None:
    """Every file that a stage imports lies in what dvc.yaml lists; test_smoke.py looks at what it really loads."""
    graph = Graph(REPO, aside=stage)
    for entry in entries(stage):
        missing = unlisted(closure(REPO / "pipelines" / f"{stage}.py"), graph.inputs(entry))
        assert not missing, f"add to stages.{stage}.deps in dvc.yaml, or let it not be needed: {missing}"
        listed = [path for path in graph.inputs(entry) if is_input(path)]
        assert len(listed) <= MOST_INPUTS, f"{stage}: {len(listed)} source inputs"
        assert VERSIONS in graph.inputs(entry), f"{stage}: what is installed is an input, too"
        assert all((REPO / path).exists() for path in listed)


def test_dvc_yaml_says_little_of_each_stage() -> None:
    """Inputs are folders, and what a stage's function decides is no command line."""
    said = re.split(r"^  (?=\w)", (REPO / "dvc.yaml").read_text(), flags=re.MULTILINE)[1:]
    assert not {each.partition(":")[0] for each in said if len(each.splitlines()) > MOST_LINES}


@pytest.mark.parametrize("stage", [*STAGES, *BESIDE])
def test_no_input_is_listed_in_vain(stage: str) -> None:
    """A folder that a stage neither imports from nor loads a network from would make it stale for nothing."""
    graph = Graph(REPO, aside=stage)
    needed = closure(REPO / "pipelines" / f"{stage}.py")
    for path in (path for path in graph.inputs(entries(stage)[0]) if is_imported(path)):
        by_name = path.startswith("src/srfoundry/networks/") and not path.endswith("zoo")
        used = any(name == path or name.startswith(f"{path}/") for name in needed)
        assert used or by_name, f"remove from stages.{stage}.deps in dvc.yaml: {path}"  # by name: test_smoke.py


@pytest.mark.parametrize("stage", [*STAGES, *BESIDE])
def test_stage_reads_only_the_values_that_it_lists(stage: str) -> None:
    """`stage.params.X` is shared, the stage's own, or listed in dvc.yaml: else a change of it would rerun nothing."""
    listed = Graph(REPO, aside=stage).stages[entries(stage)[0]]["params"]
    for node in ast.walk(ast.parse((REPO / "pipelines" / f"{stage}.py").read_text())):
        if not isinstance(node, ast.Attribute):
            continue
        parts = ast.unparse(node).removeprefix("stage.").split(".")
        if parts[0] == "params" and len(parts) > 1 and parts[1] in {*STAGES, *BESIDE} - {stage}:
            # the walk meets params.X before params.X.value: the shorter is part of the longer
            section = [entry for entry in listed if entry.split(".")[0] == parts[1]]
            where = f"pipelines/{stage}.py:{node.lineno} reads {'.'.join(parts[1:])}"
            known = bool(section) if len(parts) == 2 else parts[1] in listed or ".".join(parts[1:3]) in listed
            assert known, f"{where}; add it to dvc.yaml's params"


def test_stages_are_thin() -> None:
    """A stage file joins library pieces; what thinks belongs to src/."""
    long = {name: len((REPO / "pipelines" / f"{name}.py").read_text().splitlines()) for name in [*STAGES, *BESIDE]}
    assert not {name: lines for name, lines in long.items() if lines > 90}


def test_inputs_of_every_stage_are_written_by_a_stage_or_are_code() -> None:
    """No data enters from the side."""
    stages = [(each, name) for beside in ("", *BESIDE) for each in [Graph(REPO, beside)] for name in each.stages]
    for graph, stage in stages:
        for path in graph.inputs(stage):
            assert is_input(path) or graph.writer(path) or path.startswith("inputs/"), f"{stage}: nobody writes {path}"


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("mlflow", ("tracking",)),
        ("onnx", ("deployment", "tracking")),
        ("onnxruntime", ("runtime", "deployment", "compression")),  # compression measures how long layers take
        ("diffusers", ("blind/diffusion",)),
        ("matplotlib", ("reporting",)),
    ],
)
def test_frameworks_stay_in_their_rooms(library: str, allowed: tuple[str, ...]) -> None:
    """The mathematics can be read, and used, without any of them."""
    using = [path for path in modules() if any(name.split(".")[0] == library for name in imports(path))]
    users = {path.relative_to(SOURCE).as_posix() for path in using}
    assert not {user for user in users if not user.startswith(allowed)}


def test_few_files_stand_directly_in_the_library() -> None:
    """A newcomer looks for a folder."""
    assert {path.name for path in SOURCE.iterdir() if path.is_file()} <= {"__init__.py", "py.typed"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_functions_take_few_parameters(path: Path) -> None:
    """What travels together is an object."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            given += [each for each in (node.args.vararg, node.args.kwarg) if each is not None]
            names = [each.arg for each in given if each.arg not in ("self", "cls")]
            assert len(names) <= MOST_PARAMETERS, f"{path}:{node.lineno} {node.name} takes {len(names)}: {names}"


def test_no_module_pickles() -> None:
    """No file that a user hands over is ever unpickled."""
    for path in [*modules(), *(REPO / "pipelines").rglob("*.py")]:
        text = path.read_text()
        assert "pickle.load" not in text, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"torch.load", "np.load", "numpy.load"}:
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                safe = given.get("weights_only") == "True" or (given.get("allow_pickle", "False") == "False")
                assert safe and not (ast.unparse(node.func) == "torch.load" and "weights_only" not in given), path

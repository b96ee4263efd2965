"""One word, five places; inputs complete; imports downward only: what keeps a stage findable and its results true."""

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipelines.support.graph import Graph, folder_of, section_of
from srfoundry.config.params import Params

REPO = Path(__file__).resolve().parent.parent
HOUSE = {"__init__", "stage", "watch", "server", "graph", "factory", "fan", "preset", "shrink", "methods"}  # no stages
STAGES = [
    *["synthesize", "pretrain", "metatrain", "dual", "search", "prune", "compress", "nonblind", "estimate"],
    *["evaluate", "export"],
]
ASIDE = ["diffuse", "beamform"]  # stages with a DVC file of their own, NAME/dvc.yaml, which `dvc repro` leaves alone
# Cannot change a byte of an out: how runs are watched, shown and refused. Values are inputs already, as params.
WATCHING = {
    "pipelines/__init__.py",
    "pipelines/fan.py",
    "pipelines/graph.py",
    "pipelines/server.py",
    "pipelines/watch.py",
    "src/srfoundry/errors.py",
    "src/srfoundry/parallel.py",
    "src/srfoundry/params.py",
    "src/srfoundry/sections.py",
    "src/srfoundry/progress.py",
    "src/srfoundry/registry.py",
    "src/srfoundry/tracking.py",
}
LAYERS = [
    "errors sections params containers images matlab kernels conventions resize metrics seeds progress parallel "
    "photograph download unpack likeness sources banks constraints",
    "degrade enlarge networks",
    "checkpoint dataset pairs descent prepare testsets fit restore maml blurs sons backproject adaptation validation "
    "denoise nonblind instances solver",
    "zssr meta dual compress blind beamforming export tracking registry report",
    "apply trials restorers",
    "zeroshot",
    "commands",
    "cli",
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names.split()}


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, inside functions too; `from a import b` gives a and a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write absolute imports only"
            assert node.module is not None
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files(name: str) -> list[Path]:
    """The project's files behind a dotted name: the module, and the packages above it that are not empty."""
    parts = name.split(".")
    base = {"srfoundry": REPO / "src", "pipelines": REPO}.get(parts[0])
    if base is None:
        return []
    above = [base.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    whole = [path for path in above if path.exists() and path.read_text().strip()]
    module = base.joinpath(*parts).with_suffix(".py")
    return [*whole, module] if module.exists() else whole


def closure(start: Path) -> set[str]:
    """The project's files that a file needs, itself included, as paths of the repository."""
    seen: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += [file for name in imports(path) for file in files(name)]
    return {path.relative_to(REPO).as_posix() for path in seen}


def code(stage: str) -> set[str]:
    """The code that a stage's results depend on."""
    return {path for path in closure(REPO / "pipelines" / f"{stage}.py") - WATCHING if _says_something(REPO / path)}


def entries(stage: str) -> list[str]:
    """What dvc.yaml calls a stage: one name, or one for each value of its matrix."""
    return [entry for entry in Graph(REPO, aside=stage).stages if section_of(entry) == stage]


def _says_something(path: Path) -> bool:
    """Whether a file is more than a docstring."""
    return any(not isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body)


def modules() -> list[Path]:
    """All library files."""
    return sorted((REPO / "src" / "srfoundry").rglob("*.py"))


def test_stage_is_one_word_in_five_places() -> None:
    """dvc.yaml, pipelines/, the function, params.yaml and the sections' classes name the same ten stages."""
    graph = Graph(REPO)
    assert list(dict.fromkeys(map(section_of, graph.stages))) == STAGES
    assert {path.stem for path in (REPO / "pipelines").glob("*.py")} - HOUSE == {*STAGES, *ASIDE}
    assert set(YAML(typ="safe").load((REPO / "params.yaml").read_text())) == {"shared", *STAGES, *ASIDE}
    assert set(Params.model_fields) == {"shared", *STAGES, *ASIDE}
    for entry, stage in graph.stages.items():
        name, _, item = entry.partition("@")
        tree = ast.parse((REPO / "pipelines" / f"{name}.py").read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name
        options = "".join(f" --{key} {item}" for key in graph.matrix(name))
        assert stage["cmd"] == f"python -m pipelines.{name}{options}"
        assert stage["params"][:2] == ["shared", name], f"{name}: its own section; single values of others may follow"
        assert all("." in value or name == "compress" for value in stage["params"][2:]), f"{name}: compress is both"
        assert f"results/{folder_of(entry)}/metrics.json" in graph.outputs(entry)


@pytest.mark.parametrize("stage", ASIDE)
def test_stage_aside_is_none_of_the_graph(stage: str) -> None:
    """It has its own DVC file, works in the same folder, and nothing that `dvc repro` runs needs it."""
    graph, found = Graph(REPO), Graph(REPO, aside=stage)
    assert entries(stage) == [stage] and stage not in graph.stages
    assert found.stages[stage]["wdir"] == ".." and found.stages[stage]["cmd"] == f"python -m pipelines.{stage}"
    assert found.stages[stage]["params"][:2] == ["shared", stage]
    assert f"results/{stage}/metrics.json" in found.outputs(stage)
    assert not {path for name in graph.stages for path in graph.inputs(name)} & set(found.outputs(stage))


@pytest.mark.parametrize("stage", [*STAGES, *ASIDE])
def test_inputs_name_all_code_of_the_stage(stage: str) -> None:
    """Every file in the import closure is a dependency in dvc.yaml, and no other code is."""
    graph = Graph(REPO, aside=stage)
    listed = {path for entry in entries(stage) for path in graph.inputs(entry) if path.endswith(".py")}
    needed = code(stage)
    wrong = [f"add to dvc.yaml, stages.{stage}.deps:  - {path}" for path in sorted(needed - listed)]
    wrong += [f"remove from dvc.yaml, stages.{stage}.deps:  - {path}" for path in sorted(listed - needed)]
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize("stage", [*STAGES, *ASIDE])
def test_stage_reads_only_the_values_that_it_lists(stage: str) -> None:
    """`stage.params.X` is shared, the stage's own, or listed in dvc.yaml: else a change of it would rerun nothing."""
    listed = Graph(REPO, aside=stage).stages[entries(stage)[0]]["params"]
    for node in ast.walk(ast.parse((REPO / "pipelines" / f"{stage}.py").read_text())):
        if not isinstance(node, ast.Attribute):
            continue
        parts = ast.unparse(node).removeprefix("stage.").split(".")
        if parts[0] == "params" and len(parts) > 1 and parts[1] in {*STAGES, *ASIDE} - {stage}:
            # the walk meets params.X before params.X.value: the shorter is part of the longer
            section = [entry for entry in listed if entry.split(".")[0] == parts[1]]
            where = f"pipelines/{stage}.py:{node.lineno} reads {'.'.join(parts[1:])}"
            known = bool(section) if len(parts) == 2 else parts[1] in listed or ".".join(parts[1:3]) in listed
            assert known, f"{where}; add it to dvc.yaml's params"


def test_stages_are_thin() -> None:
    """A stage file joins library pieces; what thinks belongs to src/."""
    long = {name: len((REPO / "pipelines" / f"{name}.py").read_text().splitlines()) for name in [*STAGES, *ASIDE]}
    assert not {name: lines for name, lines in long.items() if lines > 100}


def test_inputs_of_every_stage_are_written_by_a_stage_or_are_code() -> None:
    """No data enters from the side."""
    stages = [(each, name) for aside in ("", *ASIDE) for each in [Graph(REPO, aside)] for name in each.stages]
    for graph, stage in stages:
        for path in graph.inputs(stage):
            known = (
                path.endswith(".py") or graph.writer(path) or path in ("photographs", "kernels", "unpaired")
            )  # the user's
            assert known, f"{stage}: nobody writes {path}"


def test_imports_go_down_only() -> None:
    """A library file imports lower layers, and its own layer only below the methods."""
    wrong: list[str] = []
    for path in modules():
        own = path.relative_to(REPO / "src" / "srfoundry").with_suffix("").parts
        if own[-1] == "__init__":
            continue
        for name in imports(path):
            parts = name.split(".")
            if parts[0] != "srfoundry" or len(parts) == 1 or parts[1] not in LEVEL:
                continue
            inside = parts[1] == own[0]  # a package's files may share
            sideways = LEVEL[parts[1]] == LEVEL[own[0]] and LEVEL[own[0]] >= 3
            if not inside and (LEVEL[parts[1]] > LEVEL[own[0]] or sideways):
                wrong.append(f"{'/'.join(own)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_every_library_file_has_a_layer() -> None:
    """A new file is given its place in LAYERS."""
    tops = {path.relative_to(REPO / "src" / "srfoundry").parts[0].removesuffix(".py") for path in modules()}
    assert tops - {"__init__"} <= set(LEVEL)


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("prefect", set()),
        ("dvc", set()),
        ("mlflow", {"tracking.py", "registry.py"}),
        ("onnx", {"export.py"}),
        ("diffusers", {"denoise.py"}),
        ("onnxruntime", {"export.py", "latency.py"}),
    ],
)
def test_frameworks_stay_in_their_rooms(library: str, allowed: set[str]) -> None:
    """The mathematics can be read, and used, without any of them."""
    users = {path.name for path in modules() if any(name.split(".")[0] == library for name in imports(path))}
    assert users <= allowed


def test_no_module_pickles() -> None:
    """No file that a user hands over is ever unpickled."""
    for path in [*modules(), *(REPO / "pipelines").glob("*.py")]:
        text = path.read_text()
        assert "pickle.load" not in text, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"torch.load", "np.load", "numpy.load"}:
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                safe = given.get("weights_only") == "True" or (given.get("allow_pickle", "False") == "False")
                assert safe and not (ast.unparse(node.func) == "torch.load" and "weights_only" not in given), path

"""dvc.yaml read as a graph, so that stages, the factory and the tests share one truth about order and inputs.

A stage with a matrix is several, named as DVC names them: compress@50, compress@70 for `matrix: {percent: [50, 70]}`.
"""

import hashlib
import os
import re
import time
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import product
from math import prod
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from srfoundry.config import yaml_files
from srfoundry.core.errors import FoundryError

if TYPE_CHECKING:
    from srfoundry.config.params import Params

ALWAYS = "environment"  # the stage that runs each time, in a moment: what is installed
DATA = "data/synthesize"  # what all models are made of
ASIDE = "graphs"  # the folder of the stages beside the graph, NAME/dvc.yaml each

MOST = 1000  # stages that a matrix may stand for
TRIES, PAUSE = 10, 0.1  # at reading dvc.lock; seconds between
Listed = list[str | dict[str, Any]]


class _Stage(BaseModel, extra="allow", strict=True):
    """What is read of a stage of dvc.yaml."""

    deps: Listed = []
    params: Listed = []
    outs: Listed = []
    metrics: Listed = []
    plots: Listed = []
    matrix: dict[str, Any] = {}


class _Recorded(BaseModel, extra="allow", strict=True):
    """What is read of a stage of dvc.lock."""

    outs: list[dict[str, Any]] = []


class _Graph(BaseModel, extra="allow", strict=True):
    stages: dict[str, _Stage] | None = None


class _Lock(BaseModel, extra="allow", strict=True):
    stages: dict[str, _Recorded] | None = None


class _Values(BaseModel, extra="allow", strict=True):
    """A params file, whose sections others check."""


class Graph:
    """The stages of one folder's dvc.yaml with their inputs, outputs and the md5s that dvc.lock knows.

    Args:
        aside: a stage that is to be known too if it has a DVC file of its own, graphs/aside/dvc.yaml, and so is none
            that `dvc repro` runs by itself; it works in `root` like the others. Those beside the graph whose outputs
            it reads are known with it.
        values: a params file that goes before `root`/params.yaml where paths are filled in.
        folder: where outputs lie that go before those of `root`, for values that are tried; `root` if not given.
    """

    def __init__(self, root: Path, aside: str = "", *, values: Path | None = None, folder: Path | None = None) -> None:
        self.root, self.folder = root, folder or root
        filled = yaml_files.laid_over(_read(root / "params.yaml"), _read(values) if values else {})
        listed: dict[str, Any] = {}
        self.lock: dict[str, dict[str, Any]] = {}
        for folder in [root, *(_folders(root, aside) if aside else [])]:
            listed |= _read(folder / "dvc.yaml", _Graph).get("stages") or {}
            self.lock |= _lock(folder / "dvc.lock").get("stages") or {}
        self.stages: dict[str, dict[str, Any]] = {
            name: _filled(stage, filled | {"item": item})
            for above, stage in listed.items()
            for name, item in _items(above, _filled(stage.get("matrix", {}), filled))
        }

    def inputs(self, name: str) -> list[str]:
        """Paths that the stage depends on, code included; empty for a stage that dvc.yaml does not list."""
        return _paths(self.stages.get(name, {}).get("deps", []))

    def sections(self, name: str) -> list[str]:
        """Sections of params.yaml that the stage reads, whole or in part, its own first and `shared` left out."""
        listed = [str(entry).split(".")[0] for entry in self.stages.get(name, {}).get("params", [])]
        return [section for section in dict.fromkeys([section_of(name), *listed]) if section != "shared"]

    def params_hash(self, name: str, params: "Params") -> str:
        """16 hex digits over the values that make a stage's files of the data: those of all sections that it and the
        stages above it read, and which of a matrix it is.

        Not those that make the data, which has a hash of its own: they name folders of one machine. Device and threads
        are among them, for bytes depend on these, too.
        """
        stages = [name, *(above for above in self.ancestors(name) if above != self.writer(DATA))]
        known = {section for stage in stages for section in self.sections(stage)} & set(type(params).model_fields)
        return params.section_hash(*known, item=name.partition("@")[2])

    def matrix(self, function: str) -> dict[str, list[str]]:
        """The values of each key of a stage's matrix, as DVC puts them into names; empty for a stage without one."""
        stage = next((stage for name, stage in self.stages.items() if section_of(name) == function), {})
        return {str(key): [str(value) for value in values] for key, values in stage.get("matrix", {}).items()}

    def outputs(self, name: str) -> list[str]:
        """Paths that the stage writes: outs, metrics and plots."""
        stage = self.stages.get(name, {})
        return [path for group in ("outs", "metrics", "plots") for path in _paths(stage.get(group, []))]

    def writer(self, path: str) -> str | None:
        """The stage that writes `path`, a file inside a written folder included."""
        for name in self.stages:
            if any(_inside(path, out) or _inside(out, path) for out in self.outputs(name)):
                return name
        return None

    def parents(self, name: str) -> list[str]:
        """Stages whose outputs this one reads, in dvc.yaml's order."""
        found = {self.writer(path) for path in self.inputs(name)}
        return [other for other in self.stages if other in found and other != name]

    def order(self) -> list[str]:
        """All stages, each after the ones that it depends on."""
        try:
            return list(TopologicalSorter({name: self.parents(name) for name in self.stages}).static_order())
        except CycleError as error:
            circle = " -> ".join(error.args[1])
            raise FoundryError(f"{self.root / 'dvc.yaml'}: stages wait for each other ({circle}); cut one") from None

    def ancestors(self, name: str) -> list[str]:
        """Every stage above this one, in running order."""
        above: set[str] = set()
        waiting = self.parents(name)
        while waiting:
            other = waiting.pop()
            if other not in above:
                above.add(other)
                waiting += self.parents(other)
        return [other for other in self.order() if other in above]

    def digests(self, name: str) -> dict[str, str]:
        """md5 of each input: dvc.lock's where a stage wrote it (its own entry is newer), the files' own otherwise."""
        written = {
            str(out["path"]): str(out["md5"])
            for other in self.ancestors(name)
            for out in self.lock.get(other, {}).get("outs", [])
            if "md5" in out
        }
        tried = [path for path in self.inputs(name) if self.folder != self.root and (self.folder / path).exists()]
        return {
            path: _hash(self.folder / path) if path in tried else written.get(path) or _hash(self.root / path)
            for path in self.inputs(name)
        }


def section_of(name: str) -> str:
    """The section of params.yaml that a stage has for its own: its name without the matrix's value."""
    return name.partition("@")[0]


def folder_of(name: str) -> str:
    """The folder under results/ of a stage: compress/50 for compress@50."""
    return name.replace("@", "/")


def _folders(root: Path, aside: str) -> list[Path]:
    """Of a stage beside the graph, and of the others there that write what it reads, or what these read."""
    found, beside = [root / ASIDE / section_of(aside)], sorted((root / ASIDE).glob("*/dvc.yaml"))
    for folder in found:  # grows on the way
        read = _listed(folder, "deps")
        found += [path.parent for path in beside if path.parent not in found and read & _listed(path.parent, "outs")]
    return found


def _listed(folder: Path, group: str) -> set[str]:
    """Paths of a group of all of a folder's stages."""
    stages = _read(folder / "dvc.yaml", _Graph).get("stages") or {}
    return {path for stage in stages.values() for path in _paths(stage.get(group, []))}


def _items(name: str, matrix: dict[str, list[Any]]) -> list[tuple[str, dict[str, Any]]]:
    """The names and values of a stage's matrix; the name alone where there is none."""
    if not matrix:
        return [(name, {})]
    lists = [values for values in matrix.values() if isinstance(values, list)]
    if len(lists) < len(matrix) or prod(map(len, lists)) > MOST:
        raise FoundryError(f"dvc.yaml: the matrix of {name} must hold lists, of up to {MOST} stages in all; mend it")
    return [
        (f"{name}@{'-'.join(map(str, values))}", dict(zip(matrix, values, strict=True)))
        for values in product(*matrix.values())
    ]


def _lock(path: Path) -> dict[str, Any]:
    """DVC writes it in place after each stage: what another stage reads meanwhile may be half of it."""
    for _ in range(TRIES - 1):
        try:
            return _read(path, _Lock)
        except FoundryError:
            time.sleep(PAUSE)
    return _read(path, _Lock)


def _read(path: Path, form: type[BaseModel] = _Values) -> dict[str, Any]:
    if not path.exists():
        return {}
    found = yaml_files.read(path) or {}
    try:
        form.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][:3]) or "it"
        raise FoundryError(
            f"{path}: {where} must be {first['msg'].removeprefix('Input should be ')[:80]}, got "
            f"{repr(first['input'])[:80]}; mend it"
        ) from None
    return found


def _filled(part: Any, values: dict[str, Any]) -> Any:
    """Put params.yaml's values for `${section.key}`, as DVC does."""
    if isinstance(part, dict):
        return {_filled(key, values): _filled(item, values) for key, item in part.items()}
    if isinstance(part, list):
        return [_filled(item, values) for item in part]
    if not isinstance(part, str):
        return part
    return re.sub(r"\$\{(\w+)\.(\w+)\}", lambda found: str(_section(values, found[1]).get(found[2], "")), part)


def _section(values: dict[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _paths(entries: list[Any]) -> list[str]:
    return [str(next(iter(entry), "")) if isinstance(entry, dict) else str(entry) for entry in entries]


def _inside(path: str, folder: str) -> bool:
    inner, outer = _parts(path), _parts(folder)
    return inner[: len(outer)] == outer


@cache
def _parts(path: str) -> tuple[str, ...]:
    return PurePosixPath(path).parts


def counts(file: Path) -> bool:
    """Whether a file in a folder is an input, as .dvcignore has it."""
    return not {"__pycache__", ".DS_Store", "Thumbs.db"} & set(file.parts)


def _hash(path: Path) -> str:
    if not os.path.exists(path):  # whatever its name: pathlib raises where it is too long
        raise FoundryError(f"{path} is named in dvc.yaml but is not there; restore it, or run: dvc repro")
    files = (
        [path]
        if path.is_file()
        else sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    )
    total = hashlib.md5(usedforsecurity=False)
    for file in files:
        total.update(file.relative_to(path.parent).as_posix().encode())
        total.update(hashlib.md5(file.read_bytes(), usedforsecurity=False).digest())
    return total.hexdigest()

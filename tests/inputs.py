"""Which code a stage's results depend on: what imports say, and what is exempt."""

import ast
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tests.conftest import REPO

# Cannot change a byte of an out: how runs are started, watched and shown. Values are inputs already, as params.
EXEMPT = (
    "pipelines/support",
    "src/srfoundry/config",
    "src/srfoundry/reporting",
    "src/srfoundry/tracking",
)


@cache
def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, inside functions too; `from a import b` gives a and a.b.

    An address "module:name" in a table of methods counts as well. Networks have theirs in pieces, so that a stage does
    not depend on networks that it never builds; which those are is seen when it runs.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write absolute imports only"
            assert node.module is not None
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and re.fullmatch(r"srfoundry(\.\w+)+:\w+", str(node.value)):
            found.add(str(node.value).partition(":")[0])
    return found


def closure(start: Path) -> set[str]:
    """The project's files that a file needs, itself included, as paths of the repository; past exempt ones it ends."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        name = path.relative_to(REPO).as_posix()
        if name in seen or exempt(name):
            continue
        seen.add(name)
        waiting += [file for imported in imports(path) for file in _files(imported)]
    return {name for name in seen if says_something(REPO / name)}


def unlisted(files: Iterable[str], inputs: Iterable[str], root: Path = REPO) -> list[str]:
    """The files of the project, or of a copy at `root`, that lie in none of the inputs and are not exempt."""
    folders = list(inputs)
    return sorted(
        name
        for name in files
        if not exempt(name)
        and says_something(root / name)
        and not any(name == folder or name.startswith(f"{folder}/") for folder in folders)
    )


def is_input(path: str) -> bool:
    """Whether an input is code."""
    return path.startswith(("src/", "pipelines/"))


def is_imported(path: str) -> bool:
    """Whether an input is code of Python's; the page is none, and is copied as it is (test_web.py)."""
    return is_input(path) and (path.endswith(".py") or any((REPO / path).rglob("*.py")))


FIRST = "pipelines/__init__.py"  # how programs answer Ctrl-C while they import


def exempt(name: str) -> bool:
    """Whether no result can depend on a file."""
    return name == FIRST or name.startswith(tuple(f"{folder}/" for folder in EXEMPT))


@cache
def says_something(path: Path) -> bool:
    """Whether a file is more than a docstring."""
    return any(not isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body)


def _files(name: str) -> list[Path]:
    """The project's files behind a dotted name: the module, and the packages above it."""
    parts = name.split(".")
    base = {"srfoundry": REPO / "src", "pipelines": REPO}.get(parts[0])
    if base is None:
        return []
    above = [base.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    return [path for path in (*above, base.joinpath(*parts).with_suffix(".py")) if path.exists()]

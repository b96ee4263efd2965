"""Take comments and docstrings into dvc.lock without a run: code that is the same program gives the same results.

    python -m pipelines.support.accept

For each stage that DVC finds changed, the code that dvc.lock knows is looked for in git's history and compared with the
code that is there. Only where every changed input is code, and every file the same syntax tree without its docstrings,
is the new state committed; anything else is refused by name and nothing is written.
"""

import argparse
import ast
import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.support.graph import ALWAYS, Graph, counts
from pipelines.support.program import answering
from srfoundry.core.errors import FoundryError

CODE = ("src", "pipelines")
LOOKED = 400  # commits of a path that are looked through

Files = dict[str, bytes]  # by path below the input; an input that is a file has the one path ""


def accept(root: Path) -> list[str]:
    """Commit code that is the same program to dvc.lock; return the stages that were taken.

    Raises:
        FoundryError: a stage's parameters, data, outputs or program are others; nothing is written then.
    """
    lock = Graph(root).lock
    changed = {name: entries for name, entries in _status(root).items() if name != ALWAYS}
    refused: dict[str, list[str]] = {}
    for name, entries in changed.items():
        for path, state in _changes(entries):
            known = {str(dep["path"]): str(dep.get("md5", "")) for dep in lock.get(name, {}).get("deps", [])}
            reason = _difference(root, path, state, known.get(path, ""))
            if reason:
                refused.setdefault(f"{path} {reason}", []).append(name)
    if refused:
        said = "; ".join(f"{reason} (for {', '.join(names)})" for reason, names in refused.items())
        raise FoundryError(f"nothing was accepted, since a run is needed: {said}; run: dvc repro")
    if changed:
        _dvc(root, "commit", "--force", *changed)
    return list(changed)


def _status(root: Path) -> dict[str, Any]:
    """What `dvc status` says of each stage of the graph that is not up to date; those beside it are left alone."""
    return json.loads(_dvc(root, "status", "--json", "dvc.yaml").strip().splitlines()[-1])


def _changes(entries: list[Any]) -> list[tuple[str, str]]:
    """(what, how) of everything that DVC finds changed in a stage."""
    found: list[tuple[str, str]] = []
    for entry in entries:
        if not isinstance(entry, Mapping):
            found.append(("dvc.yaml", str(entry)))  # "changed command", "changed checksum"
            continue
        for group, paths in entry.items():
            if group == "changed deps":
                found += [(str(path), state if isinstance(state, str) else "modified") for path, state in paths.items()]
            else:
                found += [(str(path), group) for path in paths]
    return found


def _difference(root: Path, path: str, state: str, md5: str) -> str:
    """Why a changed input is not the same program; empty where it is."""
    if state != "modified" or path.split("/")[0] not in CODE:
        return f"is no code ({state})" if path.split("/")[0] not in CODE else f"was {state}"
    before = _recorded(root, path, md5)
    if before is None:
        return "is recorded with code that no commit has"
    now = _present(root / path)
    for name in sorted(before.keys() | now.keys()):
        shown = f"{path}/{name}".rstrip("/")
        if name not in before or name not in now:
            return f"has {'gained' if name in now else 'lost'} {shown}"
        if before[name] != now[name] and not (shown.endswith(".py") and program(before[name]) == program(now[name])):
            return f"is another program in {shown}"
    return ""


def program(source: bytes) -> str:
    """A Python file without what no run can see: its comments, its layout and its docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


def digest(files: Files) -> str:
    """The md5 that DVC gives to these files: of the one file, or of the list of a folder's."""
    if list(files) == [""]:
        return hashlib.md5(files[""], usedforsecurity=False).hexdigest()
    listed = [
        {"md5": hashlib.md5(files[name], usedforsecurity=False).hexdigest(), "relpath": name} for name in sorted(files)
    ]
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _present(path: Path) -> Files:
    if path.is_file():
        return {"": path.read_bytes()}
    return {
        file.relative_to(path).as_posix(): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and counts(file)
    }


def _recorded(root: Path, path: str, md5: str) -> Files | None:
    """The files behind an md5 of dvc.lock, from the newest commit that has them; None where none does."""
    for commit in _git(root, "log", f"--max-count={LOOKED}", "--format=%H", "--", path).decode().split():
        names = _git(root, "ls-tree", "-r", "-z", "--name-only", commit, "--", path).decode().split("\0")
        files = {
            name.removeprefix(path).lstrip("/"): _git(root, "show", f"{commit}:{name}")
            for name in names
            if name and counts(Path(name))
        }
        if files and digest(files) == md5:
            return files
    return None


def _git(root: Path, *command: str) -> bytes:
    done = subprocess.run(["git", *command], cwd=root, capture_output=True, check=False)
    if done.returncode:
        raise FoundryError(f"git {command[0]} failed: {done.stderr.decode(errors='replace').strip()}; accept needs git")
    return done.stdout


def _dvc(root: Path, *command: str) -> str:
    dvc = [sys.executable, "-m", "dvc", *command]
    done = subprocess.run(dvc, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FoundryError(f"dvc {command[0]} failed: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout


def main() -> None:
    """Accept what may be, or say what may not."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.support.accept",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    with answering():
        taken = accept(Path.cwd())
    sys.stdout.write(f"accepted: {', '.join(taken)}\n" if taken else "nothing to accept: every stage is up to date\n")


if __name__ == "__main__":
    main()

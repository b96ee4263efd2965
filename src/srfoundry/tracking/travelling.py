"""The runtime's own code, as it travels with a registered model: under a name of its own, which hides nothing.

A program that loads a model may have no srfoundry, an older one or a newer one. So what a model needs comes along, with
its imports renamed: the name holds a hash of the code, and models of several ages load side by side.
"""

import ast
import hashlib
import re
from pathlib import Path

import srfoundry

ENTRY = "runtime.pyfunc"  # the module that MLflow loads a model with
OWN = re.compile(r"^(\s*(?:from|import) )srfoundry\b", re.MULTILINE)


def write(folder: Path) -> str:
    """Write the package into a folder.

    Args:
        folder: of the new package's folder.

    Returns:
        The package's name.
    """
    root = Path(str(srfoundry.__file__)).parent
    texts = {path.relative_to(root): path.read_text(encoding="utf-8") for path in _needed(root)}
    together = "".join(f"{path.as_posix()}\n{text}" for path, text in sorted(texts.items()))
    name = f"srfoundry_{hashlib.sha256(together.encode()).hexdigest()[:8]}"
    for path, text in texts.items():
        target = folder / name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(OWN.sub(rf"\1{name}", text), encoding="utf-8")
    return name


def _needed(root: Path) -> set[Path]:
    """The files that the entry imports, inside functions too, but for those that need PyTorch."""
    found, waiting = set[Path](), [root / f"{ENTRY.replace('.', '/')}.py"]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        imported = _imports(path)
        if "torch" in imported:
            continue
        found |= {path, *(parent / "__init__.py" for parent in path.parents if parent.is_relative_to(root))}
        waiting += [each for name in imported if (each := _file(root, name)) is not None]
    return found


def _imports(path: Path) -> set[str]:
    """Names of modules that may be meant by a file's imports, those inside functions and for the types too."""
    names = set[str]()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    for node in tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def _file(root: Path, name: str) -> Path | None:
    if not name.startswith("srfoundry."):
        return None
    path = root / f"{name.removeprefix('srfoundry.').replace('.', '/')}.py"
    return path if path.is_file() else None

"""The pages of the Python API: mkdocstrings' directives for each public module of a package."""

import ast
from pathlib import Path

from scripts.docs.figures import ROOT

SOURCE = ROOT / "src"
PACKAGES = {  # in the order in which somebody meets them
    "runtime": "exported models on NumPy arrays",
    "imaging": "images in and out, resizing, metrics",
    "degradation": "how low-resolution images come about",
    "blind": "the kernel of an image, from that image alone",
    "restoration": "photographs of unknown blur",
    "zero_shot": "a network that adapts to one image",
    "dual_regression": "the closed loop",
    "compression": "smaller networks",
    "evaluation": "every model on a test image, and the result tables",
    "networks": "the networks and their cards",
    "solver": "a network trained on one instance while it solves it",
    "deployment": "ONNX files, proven equal",
    "data": "photographs, splits, test sets",
    "training": "the loop of every training",
    "core": "errors, seeds, devices",
}


def pages() -> dict[str, str]:
    """Each package's page by its address below docs/, and an index of them."""
    index = [
        "# Python API",
        "Made from the docstrings; public names only. A package imports from those below it alone.",
    ]
    index.append("\n".join(f"- [`srfoundry.{name}`]({name}.md): {what}" for name, what in PACKAGES.items()))
    found = {"api/index.md": "\n\n".join(index) + "\n"}
    for name, what in PACKAGES.items():
        modules = [path for path in sorted((SOURCE / "srfoundry" / name).rglob("*.py")) if _is_public(path)]
        text = [f"# srfoundry.{name}", what[0].upper() + what[1:] + "."]
        text += [f"::: {_module(path)}" for path in modules]
        found[f"api/{name}.md"] = "\n\n".join(text) + "\n"
    return found


def _module(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def _is_public(path: Path) -> bool:
    """Whether a module defines a public class, function or value."""
    if path.stem.startswith("_"):
        return False
    tree = ast.parse(path.read_text())
    names = [each.name for each in tree.body if isinstance(each, ast.ClassDef | ast.FunctionDef)]
    return any(not name.startswith("_") for name in names)

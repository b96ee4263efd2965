"""What the documents show is there: imports of their Python, commands of the Makefile, files that they link to."""

import ast
import re
from importlib import import_module

import pytest

from tests.conftest import REPO

PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/glossary.md",
    "docs/browser.md",
    "docs/elsewhere.md",
    "docs/photographs.md",
    "docs/cluster.md",
    "docs/scale.md",
]


@pytest.mark.parametrize("page", PAGES)
def test_python_imports_what_is_there(page: str) -> None:
    """Every name that a page's code imports from the project."""
    text = (REPO / page).read_text()
    for code in re.findall(r"^```python[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        try:
            tree = ast.parse(code)
        except SyntaxError:
            continue  # a line for the middle of a table; test_smoke.py puts it there
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("srfoundry"):
                module = import_module(str(node.module))
                for alias in node.names:
                    if not hasattr(module, alias.name):
                        import_module(f"{node.module}.{alias.name}")


@pytest.mark.parametrize("page", PAGES)
def test_links_and_commands_lead_somewhere(page: str) -> None:
    """Relative links, and `make` targets."""
    text = (REPO / page).read_text()
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert ((REPO / page).parent / link).exists(), link
    targets = set(re.findall(r"^([a-z]+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z]+)", text, re.MULTILINE)) <= targets


def test_the_tree_names_every_package() -> None:
    """A newcomer finds a folder's line in the README."""
    tree = (REPO / "README.md").read_text().partition("## The tree")[2]
    for folder in (REPO / "src" / "srfoundry").iterdir():
        if (folder / "__init__.py").exists():
            assert re.search(rf"^  {folder.name}/ ", tree, re.MULTILINE), folder.name

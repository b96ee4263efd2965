"""The documents are true: their code imports what is there, their figures are the data's, the site has no dead link."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from scripts.docs import figures, lab_book, prose, readme
from scripts.docs.__main__ import pages, problems
from srfoundry.config.params import Params
from srfoundry.core.errors import FoundryError
from tests.conftest import REPO

PAGES = [path.relative_to(REPO).as_posix() for path in pages() if "docs/log/2" not in path.as_posix()]


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


def test_links_and_commands_lead_somewhere() -> None:
    """Relative links of pages outside of the site, whose own links its strict build checks; `make` targets of all."""
    targets = set(re.findall(r"^([a-z]+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        text = (REPO / page).read_text()
        assert set(re.findall(r"^make ([a-z]+)", text, re.MULTILINE)) <= targets, page
        if not page.startswith("docs/"):
            for link in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", text):
                assert ((REPO / page).parent / link).exists(), f"{page}: {link}"


def test_the_tree_names_every_package_in_the_order_of_the_layers() -> None:
    """A newcomer finds a folder's line in the README; import-linter knows that no layer is missing."""
    layers = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    tree = (REPO / "README.md").read_text().partition("## The tree")[2]
    assert re.findall(r"^  (\w+)/ ", tree, re.MULTILINE) == " | ".join(layers).split(" | ")


def test_words_and_figures_are_as_they_should_be() -> None:
    """`python -m scripts.docs --check` says how to mend what is listed here."""
    assert problems() == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: a warning ends it."""
    out = tmp_path_factory.mktemp("site")
    environment = os.environ | {"PYTHONPATH": f"{REPO / 'src'}{os.pathsep}{REPO}"}
    command = [sys.executable, "-m", "scripts.docs", "--out", str(out)]
    done = subprocess.run(command, cwd=REPO, env=environment, text=True, capture_output=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return out


def test_the_site_is_whole(site: Path) -> None:
    """Every page of the navigation; nothing is asked for, nothing loaded from elsewhere."""
    for name in ("index", "tutorial", "parameters", "command_line", "benchmarks", "api/runtime", "methods/mzsr", "log"):
        assert list(site.glob(f"{name}*")), name
    parameters = (site / "parameters.html").read_text()
    for section in Params.model_fields:
        assert f'id="{section}"' in parameters, section
    assert "srfoundry upscale" in (site / "command_line.html").read_text()
    assert "srfoundry.runtime.upscaler.Upscaler" in (site / "api" / "runtime.html").read_text()
    assert "<math" in (site / "methods" / "mzsr.html").read_text()
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert "{{" not in text and "\\(" not in text, page.name
        for address in re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="(https?:[^"]+)"', text):
            raise AssertionError(f"{page.name} loads {address}")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("It gains 0.31 dB.", ["0.31 dB"]),
        ("| a | 26.40 |", ["26.40"]),
        ("It takes 0.74 of the time.", ["0.74 of "]),
        ("In 12 % of all cases, after 3 minutes", ["12 %", "3 minutes"]),
        ('It gains {{ figure("drc", "latency_ratio_50") }} dB.', []),
        ("`noise 2.25 s` and x2, ONNX Runtime 1.17, DNN 4.12, range [0, 1], `b 3 h w`", []),
        ("```sh\nsleep 3 s\n```", []),
    ],
)
def test_a_figure_without_a_file_is_named(text: str, wrong: list[str]) -> None:
    assert [each.partition(": ")[2] for each in prose.unbacked(text)] == wrong


def test_a_person_in_the_prose_is_named() -> None:
    assert prose.banned("The network hears of noise") and prose.banned("which is told the kernel")
    assert not prose.banned("`tell` in code, and the reader")


def test_figures_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"a.b": {"c": 1.234}, "rows": [{"net": "drc 30 %", "mean": 33.9}, {"net": "x"}], "machine": None}
    monkeypatch.setattr(figures, "data", lambda name: held)
    assert figures.figure("any", "a.b.c", ".1f", "dB") == "1.2 dB"
    assert figures.figure("any", "rows.net=drc 30 %.mean") == "33.90"
    assert figures.figure("any", "rows.1.net") == "x"
    with pytest.raises(FoundryError, match="holds no figure 'a.d'"):
        figures.figure("any", "a.d")
    shown = figures.table("any", "net", {"first": "rows.{}.mean"}, {"one": "0", "two": "1"})
    assert "| first | 33.90 |  |" in shown and "not recorded" in shown


def test_a_given_number_stands_in_its_file() -> None:
    assert figures.given("4.5 dB", "benchmarks/firsthour.py") == "4.5 dB"
    assert figures.given("7 %", "some paper") == "7 %"
    with pytest.raises(FoundryError, match="does not hold 4.6"):
        figures.given("4.6 dB", "benchmarks/firsthour.py")


def test_the_readme_shows_what_was_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "README.md"
    text = readme.PATH.read_text()
    other.write_text(text.replace("| +", "| +9", 1) + "x" * 130 + "\n" * 120)
    monkeypatch.setattr(readme, "PATH", other)
    found = "\n".join(readme.problems())
    assert "scripts.docs --write" in found and "at most 120 lines" in found and "at most 120 characters" in found
    readme.write()
    assert readme.table() in other.read_text()


def test_an_entry_of_the_lab_book_begins_with_its_verdict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lab_book, "FOLDER", tmp_path)
    (tmp_path / "2026-01-02-good.md").write_text(
        "# It gains\n\n**Verdict**: it does; see.\n\n*2026-01-02.*\n\nSetting.\n"
    )
    assert (
        lab_book.problems() == []
        and "| 2026-01-02 | [It gains](2026-01-02-good.md) | it does; see. |" in lab_book.entries()
    )
    (tmp_path / "2026-01-03-bad.md").write_text("# It gains\n\nSetting first.\n" + "x" * 121 + "\n| " + "x" * 121)
    assert [each.partition(": ")[2][:8] for each in lab_book.problems()] == ["begin wi", "at most "]

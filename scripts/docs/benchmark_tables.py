"""The page Benchmarks: all figures of benchmarks/results, with what they were measured on."""

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from scripts.docs.figures import ROOT, data, where

INTRODUCTION = """# Benchmarks

Made from `benchmarks/results`. Each file answers one question; `python -m benchmarks.NAME` measures it again on your
machine and writes the file. Times are medians; what they were measured on stands below each heading.
"""
MOST = 60  # figures of a file that are shown; the rest is in the file


def page() -> str:
    """The whole page."""
    names = sorted(path.stem for path in (ROOT / "benchmarks" / "results").glob("*.json"))
    names.remove("recorded")
    summary = ["| benchmark | question | measured on |", "|---|---|---|"]
    summary += [f"| [{name}](#{name}) | {_cell(question(name))} | {where(name)} |" for name in names]
    parts = [INTRODUCTION, "\n".join(summary)]
    for name in names:
        parts += [f"## {name}", question(name), f"Measured on: {where(name)}. File: `benchmarks/results/{name}.json`."]
        parts += list(_tables(data(name), where(name)))
    return "\n\n".join([*parts, "## Recorded by hand", _recorded()]) + "\n"


def question(name: str) -> str:
    """The first line of the benchmark that writes a file."""
    path = ROOT / "benchmarks" / f"{name}.py"
    if not path.exists():
        path = ROOT / "benchmarks" / f"{name.split('_')[0]}.py"
    return (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0] if path.exists() else ""


def _tables(whole: Mapping[str, Any], machine: str) -> Iterator[str]:
    rows = [row for row in whole.get("rows", []) if isinstance(row, Mapping)]
    if rows:
        columns = [key for key in dict.fromkeys(key for row in rows for key in row) if _is_plain(rows, key)]
        if len(columns) <= 14:
            lines = [f"| {' | '.join(map(_title, columns))} |", f"|{'---|' * len(columns)}"]
            lines += [f"| {' | '.join(_cell(row.get(column)) for column in columns)} |" for row in rows[:MOST]]
            yield "\n".join(lines)
    figures = [(key, value) for key, value in _flat(whole) if isinstance(value, int | float | str)]
    if figures:
        lines = ["| figure | value | measured on |", "|---|---|---|"]
        lines += [f"| `{key}` | {_cell(value)} | {machine} |" for key, value in figures[:MOST]]
        yield "\n".join(lines)
    if len(figures) > MOST:
        yield f"{len(figures) - MOST} further figures stand in the file."


def _flat(whole: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in whole.items():
        if key in ("rows", "machine") and not prefix:
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _is_plain(rows: list[Mapping[str, Any]], key: str) -> bool:
    return all(not isinstance(row.get(key), Mapping | list) for row in rows)


def _title(text: str) -> str:
    return text.replace("_", " ")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")[:120]


def _recorded() -> str:
    lines = ["Figures that were measured once and that no program writes down.", ""]
    lines += ["| figure | value | measured on | when | how |", "|---|---|---|---|---|"]
    for name, each in data("recorded").items():
        lines.append(f"| {name} | {each['value']} {each['unit']} | {each['where']} | {each['when']} | {each['how']} |")
    return "\n".join(lines)

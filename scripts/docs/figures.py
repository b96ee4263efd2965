"""Figures for the documents, each looked up in the file that a program wrote, so that text and data cannot differ.

A page says `{{ figure("drc", "latency_ratio_50") }}`; benchmarks/results/drc.json has the number and the machine.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from srfoundry.core.errors import FoundryError

ROOT = Path(__file__).parents[2]


@cache
def data(name: str) -> Any:
    """The content of benchmarks/results/NAME.json or, for a name like results/evaluate, of that stage's metrics.json.

    Raises:
        FoundryError: there is no such file.
    """
    stage = name.startswith("results/")
    path = ROOT / name / "metrics.json" if stage else ROOT / "benchmarks" / "results" / f"{name}.json"
    try:
        return json.loads(path.read_text())
    except OSError:
        raise FoundryError(f"no file of figures for {name!r}, got {path.relative_to(ROOT)}; measure it first") from None


def lookup(whole: Any, path: str) -> Any:
    """The value below a path of names joined by dots; names that have dots themselves are found, too.

    Args:
        whole: what a file of figures holds.
        path: `Set5_x2.fast.psnr_y`, `rows.0.median_ms`, or `rows.member=dual.median_ms` for the row of that member.

    Raises:
        KeyError: nothing is there.
    """
    if not path:
        return whole
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        name, rest = ".".join(parts[:count]), ".".join(parts[count:])
        try:
            return lookup(_below(whole, name), rest)
        except (KeyError, IndexError):
            continue
    raise KeyError(path)


def _below(whole: Any, name: str) -> Any:
    if isinstance(whole, Mapping):
        return whole[name]
    if isinstance(whole, Sequence) and not isinstance(whole, str):
        if name.isdecimal():
            return whole[int(name)]
        key, found, value = name.partition("=")
        rows = [row for row in whole if found and isinstance(row, Mapping) and str(row.get(key)) == value]
        return rows[0]
    raise KeyError(name)


def figure(name: str, path: str, form: str = ".2f", unit: str = "", times: float = 1.0) -> str:
    """One figure as text.

    Args:
        name: of the file (`data`).
        path: within it (`lookup`).
        form: Python's format of the number.
        unit: written behind it.
        times: factor before it is written: 100 for shares in %.

    Raises:
        FoundryError: the file or the figure is not there.
    """
    try:
        value = lookup(data(name), path)
    except KeyError:
        raise FoundryError(f"{name} holds no figure {path!r}; correct the page or measure it") from None
    text = str(value) if isinstance(value, str | bool) else format(value if times == 1 else value * times, form)
    return f"{text} {unit}" if unit else text


def recorded(name: str) -> str:
    """A figure that was measured once and that no program writes down: benchmarks/results/recorded.json has it."""
    found = data("recorded").get(name)
    if found is None:
        raise FoundryError(f"recorded.json holds no figure {name!r}; add it with where, when and how it was measured")
    return f"{found['value']} {found['unit']}".strip()


def given(text: str, source: str) -> str:
    """A number that nobody here measured: a setting, a limit, a paper's. Its source is named.

    Args:
        text: as it is written.
        source: a paper, or a file of the repository, which must hold the number.

    Raises:
        FoundryError: the file does not hold it.
    """
    path = ROOT / source
    if "/" in source or path.is_file():
        if not path.is_file():
            raise FoundryError(f"given({text!r}) names {source}, which is not there; correct it")
        held = path.read_text().replace("_", "")
        for number in re.findall(r"\d+(?:\.\d+)?", text.replace(",", "")):
            forms = {number, *(f"{float(number) * times:g}" for times in (1, 0.01, 0.001, 60))}  # %, ms, minutes
            if not any(re.search(rf"(?<![\d.]){re.escape(each)}(?!\d)", held) for each in forms):
                raise FoundryError(f"given({text!r}): {source} does not hold {number}; correct one of them")
    return text


def where(name: str) -> str:
    """On what a file's figures were measured: processor, cores, threads."""
    whole = data(name)
    about = whole.get("machine") or next(iter(whole.get("machines", {}).values()), None)
    if not about:
        return "not recorded"
    cpu = re.sub(r"\((?:R|TM)\)|\s+Processor|\s+CPU", "", str(about["cpu"])).strip()
    parts = [about["gpu"] or cpu, f"{about['cores']} cores", f"{about['threads']} threads"]
    return ", ".join(part.replace("1 threads", "1 thread") for part in parts)


def table(
    name: str, corner: str, rows: Mapping[str, str], columns: Mapping[str, str], form: str = ".2f", times: float = 1.0
) -> str:
    """A table of figures of one file, with the machine below it.

    Args:
        name: of the file.
        corner: heading of the first column.
        rows: by heading, a path with `{}` where the column's name goes.
        columns: by heading, that name.
        form: of each number.
        times: factor of each number.
    """
    lines = [f"| {corner} | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for title, path in rows.items():
        cells = [_cell(name, path.replace("{}", column), form, times) for column in columns.values()]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"*`benchmarks/results/{name}.json`; {where(name)}.*"])


def _cell(name: str, path: str, form: str, times: float) -> str:
    return figure(name, path, form, times=times) if _is_there(name, path) else ""


def _is_there(name: str, path: str) -> bool:
    try:
        return lookup(data(name), path) is not None
    except KeyError:
        return False


MACROS = {"figure": figure, "recorded": recorded, "given": given, "where": where, "table": table}

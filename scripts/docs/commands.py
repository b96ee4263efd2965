"""The page Command line: what the programs say of themselves."""

import argparse
import importlib
import os
import re
from typing import Any

from scripts.docs.figures import ROOT
from srfoundry.cli import program

INTRODUCTION = """# Command line

Made from the programs' own parsers. `srfoundry` is the program that users run, `make` has the commands of a checkout,
and each stage is a program of its own.
"""


def page() -> str:
    """The whole page."""
    os.environ["COLUMNS"] = "100"  # argparse breaks its lines there
    parser = program._parser()
    text = [INTRODUCTION, "## srfoundry", _help(parser)]
    for name, each in _commands(parser).items():
        text += [f"### srfoundry {name}", _help(each)]
    text += ["## make", _targets(), "## Stages", _stages()]
    return "\n\n".join(text) + "\n"


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    actions: Any = next(each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return actions.choices


def _help(parser: argparse.ArgumentParser) -> str:
    """Its help, but for what depends on this machine."""
    text = re.sub(r"default: \d+, one\s+a core", "default: one a core", parser.format_help().rstrip())
    return f"```text\n{text}\n```"


def _targets() -> str:
    lines = re.findall(r"^([a-z]+):[^#\n]*## (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return "\n".join(["| command | what |", "|---|---|", *(f"| `make {name}` | {what} |" for name, what in lines)])


def _stages() -> str:
    rows = []
    for path in sorted((ROOT / "pipelines").glob("[a-z]*.py")):
        module = importlib.import_module(f"pipelines.{path.stem}")
        first = str(module.__doc__).splitlines()[0]
        rows.append(f"| `python -m pipelines.{path.stem}` | {first} |")
    intro = "`dvc repro` runs them in order; `--params FILE` runs one under other values."
    return "\n".join([intro, "", "| stage | what |", "|---|---|", *rows])

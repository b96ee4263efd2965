"""The command line of a stage, and what `--help` says of it: what dvc.yaml says."""

import argparse
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.support.graph import ASIDE, Graph, folder_of, section_of


def parser(function: Callable[[Any], None], root: Path) -> argparse.ArgumentParser:
    """The arguments of the stage that this function is, in a project's folder."""
    graph = Graph(root, aside=function.__name__)
    matrix = graph.matrix(function.__name__)
    name = next((each for each in graph.stages if section_of(each) == function.__name__), function.__name__)
    aside = f"{ASIDE}/{name}/dvc.yaml"
    target = aside if (root / aside).is_file() else name
    lines = [
        inspect.getdoc(function) or name,
        "",
        f"reads    {', '.join(filter(graph.writer, graph.inputs(name))) or 'the photographs'}",
        f"writes   {', '.join(graph.outputs(name)) or f'results/{folder_of(name)}/'}",
        f"values   params.yaml, sections shared, {', '.join(graph.sections(name))}",
        f"resumes  .ckpt/{name}.pt or .ckpt/{name}/, written as it goes, gone when it is done",
        "",
        f"Usually run by `dvc repro {target}`, which runs what it needs first and skips what is up to date.",
    ]
    made = argparse.ArgumentParser(
        prog=f"python -m pipelines.{function.__name__}",
        description="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--params",
        type=Path,
        default=Path("params.yaml"),
        help="a file of values that go before those of params.yaml, to try things: all that is written goes to "
        "runs/NAME/, nothing is registered",
    )
    for key, values in matrix.items():
        made.add_argument(f"--{key}", choices=values, required=True, help=f"which one, as {name} in dvc.yaml")
    return made

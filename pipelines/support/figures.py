"""Figures that a stage reads belong to the files that it reads beside them: else a model would bear another one's."""

import hashlib
import os
from pathlib import Path
from typing import Any

from pipelines.support.graph import ALWAYS, Graph
from srfoundry.core.errors import FoundryError

RESULTS = "results/"  # hold the stages' figures


def check(name: str, path: str, graph: Graph) -> None:
    """Stop a stage that is run by hand where dvc.lock knows that its figures are of another of its files.

    It knows so of figures that are as it has them: of those that were made by hand it says nothing. Of stages that DVC
    runs, it has seen to that.

    Args:
        name: of the stage.
        path: that it reads.
        graph: of the project.

    Raises:
        FoundryError: a file that the stage reads is not the one that these figures were made of.
    """
    writer = graph.writer(path)
    if writer is None or not path.startswith(RESULTS) or "DVC_STAGE" in os.environ:
        return
    recorded = graph.lock.get(writer, {})
    made, of = _md5s(recorded.get("outs")), _md5s(recorded.get("deps"))
    if made.get(path) != _md5(graph.root / path):
        return
    for other in graph.inputs(name):
        file = graph.root / other
        known = other in of and graph.writer(other) not in (None, ALWAYS) and file.is_file()
        if known and _md5(file) != of[other]:
            raise FoundryError(
                f"{path} must be of the files that {name} reads, got those of another {other}; run: dvc repro {writer}"
            )


def _md5s(entries: Any) -> dict[str, str]:
    """Those of files, by path; a folder's is one of a list."""
    listed = [each for each in entries or [] if isinstance(each, dict)]
    return {str(each.get("path")): str(each.get("md5", "")) for each in listed}


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()

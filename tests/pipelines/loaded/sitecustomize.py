"""Python imports this as it starts where this folder is in PYTHONPATH: a stage then notes which files it loaded.

Files that SRFOUNDRY_LACKING lists cannot be imported, as if what they belong to were not installed.
"""

import atexit
import importlib.abc
import importlib.machinery
import json
import os
import sys
from pathlib import Path
from typing import Any


def _note() -> None:
    folder, stage = os.environ.get("SRFOUNDRY_LOADED"), os.environ.get("DVC_STAGE")
    if folder and stage:
        files = [str(module.__file__) for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
        Path(folder, f"{stage}-{os.getpid()}.json").write_text(json.dumps(files))


class Lacking(importlib.abc.MetaPathFinder):
    """Says of modules that lie in the given folders and files that there are none."""

    def __init__(self, roots: list[str]) -> None:
        self.roots = set(roots)

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """As the import system asks."""
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            file = Path(spec.origin)
            if self.roots & {str(file), *map(str, file.parents)}:
                raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


if "SRFOUNDRY_LACKING" in os.environ:
    sys.meta_path.insert(0, Lacking(json.loads(Path(os.environ["SRFOUNDRY_LACKING"]).read_text())))
atexit.register(_note)

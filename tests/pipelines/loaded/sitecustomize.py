"""Python imports this as it starts where this folder is in PYTHONPATH: a stage then notes which files it loaded.

Files that SRFOUNDRY_LACKING lists cannot be imported, as if what they belong to were not installed.
"""

import atexit
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


class Lacking(importlib.machinery.PathFinder):
    """Python's own finder, for which there are no modules in some folders and files."""

    roots: set[str]

    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """As the import system asks."""
        spec = super().find_spec(fullname, path, target)
        if spec is None or spec.origin is None:
            return spec
        return None if cls.roots & {spec.origin, *map(str, Path(spec.origin).parents)} else spec


if "SRFOUNDRY_LACKING" in os.environ:
    Lacking.roots = set(json.loads(Path(os.environ["SRFOUNDRY_LACKING"]).read_text()))
    sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Lacking
atexit.register(_note)

"""Registered models out of a store that is no server (a file, a database), by MLflow: the far side of runtime.pulling.

The store is that of the project in the working folder, or the one that MLFLOW_TRACKING_URI names.
"""

import os
from pathlib import Path
from types import ModuleType

from srfoundry.runtime.pulling import PREFIX, Version
from srfoundry.tracking import stores


def registry() -> ModuleType:
    """The module tracking.registry: MLflow reads where its store is as it is imported."""
    stores.prepare(Path.cwd())
    stores.settle(os.environ["MLFLOW_TRACKING_URI"], Path.cwd())
    from srfoundry.tracking import registry

    return registry


def versions() -> list[dict[str, str]]:
    """Every registered version; FoundryError as in runtime.pulling."""
    return registry().versions()


def aliases(name: str) -> list[str]:
    """The aliases of a model; FoundryError as in runtime.pulling."""
    return registry().aliases(name)


def find(address: str) -> Version:
    """The version at an address; FoundryError as in runtime.pulling."""
    return registry().find(address)


def fetch(version: Version) -> bytes:
    """The .onnx file of a version; FoundryError as in runtime.pulling."""
    return registry().fetch(f"{PREFIX}{version.name}/{version.number}")

"""Files that are either the old one or the whole new one, whatever happens meanwhile."""

import os
from pathlib import Path


def write_bytes(path: Path, blob: bytes) -> None:
    """Write a file so that it is either the old one or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(blob)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)

"""The installed versions as an input of every stage: after an upgrade no result stands as if nothing had happened.

DVC runs this each time (`always_changed`), which takes a moment; the file changes only when a version does. It is no
flow of Prefect's, since it does no work that anybody would watch.
"""

import json
from pathlib import Path

from pipelines.support.versions import versions
from srfoundry.core.atomic import write_bytes


def environment(root: Path) -> None:
    """Write results/environment/versions.json."""
    text = json.dumps(versions(), indent=2, sort_keys=True) + "\n"
    write_bytes(root / "results" / "environment" / "versions.json", text.encode())


if __name__ == "__main__":
    environment(Path.cwd())

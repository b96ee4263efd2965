"""params.yaml as git has it: what a user has written into it decides no test."""

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

REPO = Path(__file__).resolve().parent.parent


def shipped(root: Path) -> bytes:
    """`root`/params.yaml as in the last commit; where keys have been added or removed since, today's with those values.

    Args:
        root: of the repository; where git knows of none, or of no such file, it is as it is.
    """
    file, command = root / "params.yaml", ["git", "show", "HEAD:./params.yaml"]
    try:
        committed = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return file.read_bytes()
    then, now = (dict(_values(YAML(typ="safe").load(text))) for text in (committed, file.read_bytes()))
    if then.keys() == now.keys():
        return committed
    from pipelines.support import preset

    return preset.changed({name: value for name, value in then.items() if name in now}, root)


def _values(section: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _values(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _kept() -> Path:
    text = shipped(REPO)
    if text == (REPO / "params.yaml").read_bytes():
        return REPO / "params.yaml"
    folder = Path(tempfile.mkdtemp(prefix="srfoundry-params-", dir=os.environ.get("SRFOUNDRY_TEST_SERVER")))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "params.yaml"
    path.write_bytes(text)
    return path


SHIPPED = _kept()  # a file that tests read or copy

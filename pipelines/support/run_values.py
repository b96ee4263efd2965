"""A run's own values in params.yaml while it runs, and what was there before back afterwards, even if it is killed.

python -m pipelines.support.run_values      puts that back, where a run was killed
"""

import argparse
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.support import preset
from pipelines.support.dvc_runs import alone
from pipelines.support.program import answering, say
from srfoundry.core.atomic import write_bytes

MARK = Path(".ckpt/params.before")  # there while a run has its values in params.yaml: what to put back, and over what


@contextmanager
def under(values: Mapping[str, Any], root: Path) -> Iterator[None]:
    """Have these values in params.yaml meanwhile: the next run must not find them there.

    Args:
        values: by name, such as {"dual.steps": 20000}.
        root: of the project, which this process runs alone.

    Raises:
        FoundryError: values that params.yaml may not have; then nothing is written.
    """
    restore(root)
    if not values:
        yield
        return
    path, mark = root / "params.yaml", root / MARK
    before, meanwhile = path.read_bytes(), preset.changed(values, root)
    try:
        write_bytes(mark, json.dumps({"before": before.decode(), "meanwhile": _md5(meanwhile)}).encode())
        write_bytes(path, meanwhile)
        yield
    finally:
        write_bytes(path, before)
        mark.unlink(missing_ok=True)


def restore(root: Path) -> None:
    """Put back what a run that was killed had no time to, unless somebody has changed params.yaml since; and say so.

    Args:
        root: of the project, which this process runs alone.
    """
    path, mark = root / "params.yaml", root / MARK
    try:
        kept = json.loads(mark.read_bytes())
    except FileNotFoundError:
        return
    now, before = path.read_bytes(), kept["before"].encode()
    if now != before and _md5(now) == kept["meanwhile"]:
        write_bytes(path, before)
        say("params.yaml is as before a run that was killed: it had left its values there")
    elif now != before:
        say("params.yaml stays as it is, changed since a run was killed that had left its values there; look them over")
    mark.unlink()


def _md5(text: bytes) -> str:
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


def main(arguments: Sequence[str] | None = None) -> None:
    """Put back what a killed run left; refused while one is at work, which does so itself."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.support.run_values",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    root = Path.cwd()
    with answering(), alone(root):
        restore(root)


if __name__ == "__main__":
    main()

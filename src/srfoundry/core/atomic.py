"""Files and folders that are either the old one or the whole new one, whatever happens meanwhile."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

_unfinished: set[Path] = set()  # what `discard` removes where a process ends in the middle of writing


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A hidden path beside `path` to write to, with the same ending; it takes that one's place if all goes well.

    Its length does not depend on the name's, which may be as long as the file system allows.

    >>> with replacing(Path("a.txt")) as partial:
    ...     partial.write_text("whole")
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = blake2b(os.fsencode(path.name), digest_size=8).hexdigest()
    partial = path.with_name(f".partial-{digest}{path.suffix[:16]}")
    _unfinished.add(partial)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
        _unfinished.discard(partial)


def discard() -> None:
    """Remove what is half written, of all threads; for a process that ends at once."""
    for partial in list(_unfinished):
        partial.unlink(missing_ok=True)


def write_bytes(path: Path, blob: bytes) -> None:
    """Write a file so that it is either the old one or the whole new one."""
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(blob)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def published(folder: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `folder` when the block ends well; else the former one stays.

    Not the files are replaced but the folder, so that no file of the former one is left among the new.

    >>> with published(Path("exports")) as fresh:
    ...     (fresh / "a.onnx").write_bytes(blob)

    Args:
        folder: need not be there yet.
    """
    fresh, former = (folder.with_name(f".{folder.name}.{word}") for word in ("partial", "former"))
    if former.exists() and not folder.exists():  # of a run that was killed between the two moves
        former.rename(folder)
    for left in (fresh, former):
        shutil.rmtree(left, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        yield fresh
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    if folder.exists():
        folder.rename(former)
    fresh.rename(folder)
    shutil.rmtree(former, ignore_errors=True)


KEPT = "kept.json"  # in a folder of `kept_files`: the key, and what was returned


def kept_files(folder: Path, key: str, make: Callable[[Path], dict[str, Any]], into: Path) -> dict[str, Any]:
    """Have `make` write files into a folder of its own, and copy them; whoever is killed does not make them again.

    Args:
        folder: where the files are kept.
        key: what they belong to; files with another key are made anew.
        make: is called with an empty folder, and returns what JSON can hold, which is returned.
        into: an existing folder, in which the files are wanted.
    """
    if _kept(folder).get("key") != key:
        with published(folder) as fresh:
            made = make(fresh)
            write_bytes(fresh / KEPT, json.dumps({"key": key, "made": made}).encode())
    shutil.copytree(folder, into, dirs_exist_ok=True, ignore=shutil.ignore_patterns(KEPT))
    return _kept(folder)["made"]


def _kept(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / KEPT).read_text())
    except (OSError, ValueError):
        return {}

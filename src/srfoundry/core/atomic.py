"""Files and folders that are either the old one or the whole new one, whatever happens meanwhile."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

_unfinished: dict[int, Path] = {}  # by open file: what `discard` removes where a process ends in the middle of writing


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A hidden file beside `path` to write to, with the same ending; it takes that one's place if all goes well.

    Each of several writers of one path, threads or processes, has its own, and the last to end has written the file.
    The name's length does not depend on that of `path`, which may be as long as the file system allows.

    >>> with replacing(Path("a.txt")) as partial:
    ...     partial.write_text("whole")

    Args:
        path: need not be there yet, nor its folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file, partial = _claimed(path)
    _unfinished[file] = partial
    try:
        yield partial
        with partial.open("rb") as written:  # opened anew: the writer may have put another file there
            os.fsync(written.fileno())
        partial.replace(path)
    finally:
        _remove(file, partial)
        del _unfinished[file]
        os.close(file)


def discard() -> None:
    """Remove what is half written, of all threads; for a process that ends at once."""
    for file, partial in list(_unfinished.items()):
        _remove(file, partial)


def _claimed(path: Path) -> tuple[int, Path]:
    """The first hidden file beside `path` that no other writer holds: open, locked and empty.

    The system gives locks back however a writer ends: what a killed one left is used again, or removed.
    """
    number = 0
    while True:
        partial = _partial(path, number)
        file = os.open(partial, os.O_RDWR | os.O_CREAT, 0o666)
        if not _locked(file):
            number += 1
        elif _is_at(file, partial):
            break
        os.close(file)  # another's; or it was until now, and is published: the name is free again
    os.ftruncate(file, 0)
    while (left := _partial(path, number := number + 1)).exists():
        with suppress(OSError), left.open("rb+") as other:
            if _locked(other.fileno()):
                _remove(other.fileno(), left)
    return file, partial


def _partial(path: Path, number: int) -> Path:
    digest = blake2b(os.fsencode(path.name), digest_size=8).hexdigest()
    return path.with_name(f".partial-{digest}{f'-{number}' if number else ''}{path.suffix[:16]}")


def _locked(file: int) -> bool:
    """Whether the file is this writer's now; on volumes without locks each is."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except OSError:
        return False


def _remove(file: int, partial: Path) -> None:
    """Remove a locked file by its name, unless that is another writer's by now."""
    if _is_at(file, partial):
        partial.unlink(missing_ok=True)


def write_bytes(path: Path, blob: bytes) -> None:
    """Write a file so that it is either the old one or the whole new one."""
    with replacing(path) as partial:
        partial.write_bytes(blob)


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

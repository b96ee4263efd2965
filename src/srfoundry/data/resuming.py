"""Work on many photographs that goes on where it was killed: what is done is noted, one photograph after another."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from srfoundry.core.atomic import write_bytes
from srfoundry.core.parallel import Map
from srfoundry.core.state import kept

Item = TypeVar("Item")
KEY = "key"


def resumed(mapped: Map, folder: Path, key: str) -> Map:
    """The same map, but what a killed run with the same key has done is not done again.

    Functions must return what JSON can hold, and have their files on the disk (`settle`) as they return. A text says
    why an item could not be done: it is not noted, for a disk or a right may be back the next time.

    Args:
        mapped: that goes through the items.
        folder: of the notes, and of all that the functions write; emptied where it belongs to another key.
        key: of the inputs: the same items must come under the same titles.
    """
    try:
        same = (folder / KEY).read_text() == key
    except OSError:
        same = False
    if not same:
        forget(folder)
        shutil.rmtree(folder, ignore_errors=True)
        write_bytes(folder / KEY, key.encode())

    def going_on(function: Callable[[Item], Any], items: Sequence[Item], title: str) -> Iterator[Any]:
        notes = (folder / "done" / title.replace(" ", "_")).absolute()
        for row in mapped(partial(_once, function, notes, key), list(enumerate(items)), title):
            yield row["result"]

    return going_on


def forget(folder: Path) -> None:
    """Let no later run go on from the folder, of which a kill may leave notes without their files as it is removed."""
    (folder / KEY).unlink(missing_ok=True)


def settle(path: Path) -> None:
    """Wait until a file is on the disk: a note that it is done must not outlive it."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def hand_over(made: Path, into: Path) -> None:
    """Have a folder's files in another, too, in place of that: until its notes go, a killed run needs them.

    They take no more room where the file system has links.
    """
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(made, into, copy_function=_linked)


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


class _Refused(Exception):
    """Why an item could not be done."""


def _once(function: Callable[[Item], Any], notes: Path, key: str, numbered: tuple[int, Item]) -> dict[str, Any]:
    number, item = numbered

    def make() -> dict[str, Any]:
        result = function(item)
        if isinstance(result, str):
            raise _Refused(result)
        return {"result": result}

    try:
        return kept(notes / f"{number}.pt", key, make)
    except _Refused as why:
        return {"result": str(why)}

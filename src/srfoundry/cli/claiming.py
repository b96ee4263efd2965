"""The files that a call is about to write: none replaces what it reads, or what is there unless that is allowed."""

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from srfoundry.cli.place import Existing
from srfoundry.core.errors import FoundryError


def claim(outputs: Sequence[Path], inputs: Iterable[Path], *, existing: Existing = "refuse") -> None:
    """Make sure, before the work, that these files can be written.

    Args:
        outputs: all files that a call writes.
        inputs: all files that it reads.
        existing: refuse, or overwrite, files that are there.

    Raises:
        FoundryError: one would replace an input, or a file that is there, or has no place in its folder.
    """
    read = {identity: path for path in inputs if (identity := identity_of(path))}
    there = [path for path in outputs if os.path.lexists(path)]
    for path in there:
        identity = identity_of(path)
        own = None if identity is None else read.get(identity)
        if own is not None:
            raise FoundryError(f"the result would replace its own source {own}; name another place with --out")
        if os.path.isdir(path):
            raise FoundryError(f"cannot write {path}: a folder has that name; name another place with --out")
    if there and existing != "overwrite":
        more = f" and {len(there) - 1} more results" if len(there) > 1 else ""
        keep = "keep what is there with --skip-existing"
        if existing == "skip":  # whoever deletes a result may leave its kernel behind
            keep = "remove what is left of results that are gone"
        raise FoundryError(
            f"{there[0]}{more} would be replaced; allow it with --overwrite, {keep}, or name another place with --out"
        )
    for folder in dict.fromkeys(os.path.dirname(path) for path in outputs):
        _check_folder(Path(folder))


def identity_of(path: Path) -> tuple[int, int] | None:
    """What identifies a file, whatever its name; None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made or written to, without leaving a trace there."""
    place = folder
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    try:
        if not stat.S_ISDIR(os.stat(place).st_mode):
            raise NotADirectoryError(0, "not a folder")
        probe = place / f".partial-{os.getpid()}"
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        probe.unlink()
    except OSError as error:
        raise FoundryError(
            f"cannot write to {folder}: {place}: {error.strerror}; name another place with --out"
        ) from None

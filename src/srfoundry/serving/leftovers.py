"""The folder of a server's photographs: its own while it lives, and removed by the next one where it was killed.

The system gives locks back however a process ends; a folder whose lock is free belongs to nobody any more.
"""

import fcntl
import os
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

PREFIX, LOCK = "srfoundry-serve-", "lock"
STARTING = 300.0  # seconds that a server may take between its folder and its lock


def claim() -> tuple[Path, BinaryIO]:
    """A new folder below $TMPDIR, and the open file that holds it; other servers' that nobody holds are removed."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    held = (folder / f"{LOCK}.new").open("wb")
    with suppress(OSError):  # a volume without locks: the others cannot have this one either, and leave the folder
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    Path(held.name).rename(folder / LOCK)  # only now, so that a lock that can be seen is free only where nobody lives
    for other in folder.parent.glob(f"{PREFIX}*"):
        if other != folder:
            _remove_left(other)
    return folder, held


def _remove_left(folder: Path) -> None:
    """Remove a folder of this user's whose server is gone; leave all that is not surely one."""
    with suppress(OSError):  # another server removes it at the same time, or it has no locks
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            return
        try:
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            if time.time() - found.st_mtime > STARTING:
                shutil.rmtree(folder, ignore_errors=True)
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)

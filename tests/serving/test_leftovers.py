"""What a killed server leaves is removed by the next one; what another one uses, or somebody else put there, is not."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from srfoundry.serving import leftovers
from srfoundry.serving.jobs import Store
from srfoundry.serving.settings import Limits

KILLED = """
import os, signal
from srfoundry.serving.jobs import Store
from srfoundry.serving.settings import Limits
store = Store(Limits())
(store.place() / "photograph").write_bytes(b"somebody's")
print(store.folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where folders for a while lie, of this process and of those that it starts."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_photographs_of_a_killed_server_go_with_the_next_start() -> None:
    done = subprocess.run([sys.executable, "-c", KILLED], text=True, capture_output=True, timeout=120)
    left = Path(done.stdout.strip())
    assert left.is_dir() and list(left.glob("*/photograph")), done.stderr
    store = Store(Limits())
    assert not left.exists() and store.folder.is_dir()
    store.close()
    assert not store.folder.exists()


def test_servers_that_live_keep_their_folders() -> None:
    first, second = Store(Limits()), Store(Limits())
    assert first.folder.is_dir() and second.folder.is_dir()
    assert (first.place() / "photograph").parent.is_dir()
    first.close()
    first.close()  # at the end of a process that was stopped twice
    second.close()


def test_what_is_not_surely_left_is_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    young, old, mine = (place / f"{leftovers.PREFIX}{name}" for name in ("young", "old", "mine"))
    for each in (young, old, mine):
        each.mkdir()
    ancient = time.time() - 2 * leftovers.STARTING
    os.utime(old, (ancient, ancient))
    (place / "elsewhere").mkdir()
    (place / "elsewhere" / leftovers.LOCK).touch()
    (place / f"{leftovers.PREFIX}link").symlink_to("elsewhere")
    (place / f"{leftovers.PREFIX}file").touch()
    (mine / leftovers.LOCK).symlink_to(place / "elsewhere" / leftovers.LOCK)
    Store(Limits()).close()
    assert young.is_dir() and mine.is_dir() and not old.exists()
    assert (place / "elsewhere" / leftovers.LOCK).exists() and (place / f"{leftovers.PREFIX}file").exists()
    (young / leftovers.LOCK).touch()
    monkeypatch.setattr(os, "getuid", lambda: -1)
    Store(Limits()).close()
    assert young.is_dir()  # another user's


def test_where_there_are_no_locks_all_folders_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(_file: object, _how: int) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr("fcntl.flock", without)
    first, second = Store(Limits()), Store(Limits())
    assert first.folder.is_dir() and second.folder.is_dir()
    first.close()
    second.close()

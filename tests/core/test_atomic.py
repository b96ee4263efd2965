"""A file or a folder is the former one or the whole new one, also when what writes it fails."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from srfoundry.core import atomic
from srfoundry.core.atomic import published


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    exports = tmp_path / "exports"
    for name in ("former.onnx", "new.onnx"):
        with published(exports) as fresh:
            (fresh / name).write_text(name)
            assert not exports.exists() or [path.name for path in exports.iterdir()] == ["former.onnx"]
        assert [path.name for path in exports.iterdir()] == [name]
    assert [path.name for path in tmp_path.iterdir()] == ["exports"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_former_folder(tmp_path: Path, error: type[BaseException]) -> None:
    exports = tmp_path / "exports"
    exports.mkdir()
    (exports / "former.onnx").write_text("former")
    with pytest.raises(error), published(exports) as fresh:
        (fresh / "new.onnx").write_text("half")
        raise error
    assert {path: path.read_text() for path in exports.iterdir()} == {exports / "former.onnx": "former"}
    assert [path.name for path in tmp_path.iterdir()] == ["exports"]


def test_what_a_kill_left_is_put_right(tmp_path: Path) -> None:
    """Between the two moves the former folder stands under another name; half a new one may be there besides."""
    for name in (".exports.former", ".exports.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.onnx").write_text(name)
    with pytest.raises(ValueError), published(tmp_path / "exports"):
        raise ValueError
    assert (tmp_path / "exports" / "a.onnx").read_text() == ".exports.former"
    assert [path.name for path in tmp_path.iterdir()] == ["exports"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    atomic.write_bytes(path, b"old")
    with pytest.raises(ValueError, match="full"), atomic.replacing(path) as partial:
        partial.write_bytes(b"half")
        raise ValueError("full")
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]
    atomic.write_bytes(path, b"new")
    assert path.read_bytes() == b"new" and list(path.parent.iterdir()) == [path]


def test_names_may_be_as_long_as_files_have_them(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 251 + ".png")
    atomic.write_bytes(path, b"whole")
    assert path.read_bytes() == b"whole"


def test_what_is_half_written_can_be_discarded(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic.replacing(tmp_path / "a.txt") as partial:
        partial.write_bytes(b"half")
        atomic.discard()
        assert not partial.exists()
    assert not list(tmp_path.iterdir())


def test_each_of_two_writers_has_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic.replacing(path) as first:
        first.write_bytes(b"first, of more bytes")
        with atomic.replacing(path) as second:
            assert second.suffix == first.suffix == ".txt"
            second.write_bytes(b"second")
        assert path.read_bytes() == b"second"
        with pytest.raises(ValueError), atomic.replacing(path) as third:
            third.write_bytes(b"third")
            raise ValueError
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first, of more bytes" and list(tmp_path.iterdir()) == [path]


WRITING = """
import sys, threading
from pathlib import Path
from srfoundry.core import atomic

def write(letter):
    for turn in range(60):
        atomic.write_bytes(Path("a.bin"), letter.encode() * (1 + 997 * turn % 50_000))

threads = [threading.Thread(target=write, args=(letter,)) for letter in sys.argv[1:]]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_writers_of_one_file_mix_no_bytes(tmp_path: Path) -> None:
    """Two threads of each of two processes."""
    path, ended = tmp_path / "a.bin", threading.Event()
    atomic.write_bytes(path, b"a")
    command = [sys.executable, "-W", "error", "-c", WRITING]
    processes = [
        subprocess.Popen([*command, *letters], cwd=tmp_path, text=True, stderr=subprocess.PIPE)
        for letters in ("ab", "cd")
    ]
    mixed: list[bytes] = []

    def read() -> None:
        while not ended.is_set():
            blob = path.read_bytes()
            mixed.extend([blob] if len(set(blob)) != 1 else [])

    reader = threading.Thread(target=read)
    reader.start()
    said = [process.communicate(timeout=120)[1] for process in processes]
    ended.set()
    reader.join()
    assert said == ["", ""] and not mixed and list(tmp_path.iterdir()) == [path]


KILLED = """
import os, signal
from pathlib import Path
from srfoundry.core import atomic

with atomic.replacing(Path("a.txt")) as first, atomic.replacing(Path("a.txt")) as second:
    first.write_bytes(b"of the first that was killed")
    second.write_bytes(b"of the second")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_killed_writers_left_is_used_or_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2 and not path.exists()
    with atomic.replacing(path) as partial:
        assert partial.read_bytes() == b"" and list(tmp_path.iterdir()) == [partial]
        partial.write_bytes(b"new")
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


def test_what_is_published_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it takes the place of the former file, of which else an empty one may be left when the power fails."""
    path, synced = tmp_path / "a.txt", list[tuple[int, bool]]()
    monkeypatch.setattr(os, "fsync", lambda file: synced.append((os.fstat(file).st_ino, path.exists())))
    with atomic.replacing(path) as partial:
        partial.write_bytes(b"whole")
    assert synced == [(path.stat().st_ino, False)]


def test_files_that_were_made_are_not_made_again(tmp_path: Path) -> None:
    """But with another key; a run that was killed in the middle of one finds those before it."""
    calls, wanted = [], tmp_path / "wanted"
    wanted.mkdir()

    def make(folder: Path) -> dict[str, float]:
        calls.append(folder)
        (folder / "fp16").mkdir()
        (folder / "fp16" / "a.onnx").write_text(f"{len(calls)}")
        return {"psnr": 0.1 + 0.2}

    for key in ("one", "one", "two"):
        assert atomic.kept_files(tmp_path / "kept", key, make, wanted) == {"psnr": 0.1 + 0.2}
    assert len(calls) == 2
    assert [path.read_text() for path in wanted.rglob("*.*")] == ["2"]

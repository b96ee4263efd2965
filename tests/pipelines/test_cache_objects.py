"""What DVC's cache holds is what it is named after."""

import errno
import hashlib
from pathlib import Path
from typing import Any

import pytest

from pipelines.support import cache_objects


def stored(root: Path, content: bytes, ending: str = "") -> Path:
    name = hashlib.md5(content, usedforsecurity=False).hexdigest()
    path = root / cache_objects.OBJECTS / name[:2] / f"{name[2:]}{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o444)
    return path


def test_damaged_objects_are_removed_by_name_and_others_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache_objects.check(tmp_path)  # no cache yet
    whole, damaged, listing = stored(tmp_path, b"weights"), stored(tmp_path, b"others"), stored(tmp_path, b"[]", ".dir")
    strange = whole.with_name("unfinished.tmp")
    strange.write_bytes(b"x")
    cache_objects.check(tmp_path)
    damaged.chmod(0o644)
    with damaged.open("r+b") as file:  # in place, as root may
        file.truncate(3)
    damaged.chmod(0o444)
    cache_objects.check(tmp_path)
    assert whole.exists() and listing.exists() and strange.exists() and not damaged.exists()
    assert capsys.readouterr().err.count(f"{damaged.parent.name}/{damaged.name}") == 1


def test_an_object_that_cannot_be_read_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a network's volume that fails for a moment: nothing says that it is damaged."""
    kept, folder = stored(tmp_path, b"weights"), stored(tmp_path, b"others")
    folder.unlink()
    folder.mkdir()
    usual = Path.open

    def failing(path: Path, *given: Any, **more: Any) -> Any:
        if path == kept:
            raise OSError(errno.EIO, "Input/output error")
        return usual(path, *given, **more)

    monkeypatch.setattr(Path, "open", failing)
    cache_objects.check(tmp_path)
    said = capsys.readouterr().err.splitlines()
    assert kept.exists() and folder.exists()
    assert len(said) == 1 and " and 1 more could not be checked and stays" in said[0]

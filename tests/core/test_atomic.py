"""A file or a folder is the former one or the whole new one, also when what writes it fails."""

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

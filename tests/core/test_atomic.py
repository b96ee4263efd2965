"""A file or a folder is the former one or the whole new one, also when what writes it fails."""

from pathlib import Path

import pytest

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

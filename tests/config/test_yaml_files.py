"""YAML files: what is none, or too much, is one line that names the file; aliases count as often as they stand."""

from pathlib import Path

import pytest

from srfoundry.config import params, yaml_files
from srfoundry.core.errors import FoundryError

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "more than 100,000 values"),
        (f"{BOMB}a: *a11\na: *a11\n", "more than 100,000 values"),  # a duplicate key, whose value an error would show
        ("a: &a [*a]\n", "more than 40 levels"),
        ("a: &a {b: *a}\n", "more than 40 levels"),
        ("[" * 3000, "more than 40 levels"),
        ("a: 2020-01-01\n", "got a date"),
        ("a: !!binary aGk=\n", "got a bytes"),
        ("a: [1, !!set {x}]\n", "a must be text"),
        ("a: !!float x\n", "a value that is none"),
        ("a: !!int ''\n", "a value that is none"),
        ("1: a\n", "a key must be a word, got 1"),
        ("? [a]\n: b\n", "a key must be a word"),
        ("a: 1\na: 2\n", r"valid YAML: line 2: found duplicate key .* \(original value: \"1\"\); mend that line$"),
        ("a: [\n", "not valid YAML"),
        ("a: !!python/name:os.system\n", "not valid YAML"),
        ("x" * 2**21, "up to 1,048,576 bytes"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a b.yaml"
    path.write_text(text)
    with pytest.raises(FoundryError, match=said) as caught:
        yaml_files.read(path)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 500
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: &x [1, 2.5, true, null, text]\nb: {c: *x}\n")
    listed = [1, 2.5, True, None, "text"]
    assert yaml_files.read(tmp_path / "a.yaml") == {"a": listed, "b": {"c": listed}}
    (tmp_path / "a.yaml").write_text("")
    assert yaml_files.read(tmp_path / "a.yaml") is None


def test_no_file_and_no_text(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(FoundryError, match=str(path)):
            yaml_files.read(path)
    (tmp_path / "a.yaml").write_bytes(b"a: \xff\xfe\n")
    (tmp_path / "b.yaml").write_bytes("a: 1\nb: caf\u00e9\n".encode("latin-1"))
    (tmp_path / "c.yaml").write_text("a: 1\n", encoding="utf-16")
    for name, line in {"a": 1, "b": 2, "c": 1}.items():
        with pytest.raises(FoundryError, match=f"UTF-8, got other bytes in line {line}; save it as UTF-8"):
            yaml_files.read(tmp_path / f"{name}.yaml")


def test_a_value_that_is_shown_is_short(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("shared: '" + "x" * 50_000 + "'\n")
    with pytest.raises(FoundryError, match="shared") as caught:
        params.load(tmp_path / "params.yaml")
    assert len(str(caught.value)) < 5000


def test_what_was_read_is_remembered_by_its_text_and_is_the_readers_own(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: {b: [1]}\n")
    yaml_files.read(path)["a"]["b"].append(2)
    assert yaml_files.read(path) == {"a": {"b": [1]}}
    path.write_text("a: {b: [3]}\n")
    assert yaml_files.read(path) == {"a": {"b": [3]}}

"""Archives are unpacked whole or not at all, photographs only, and nothing leaves their folder."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from srfoundry.core.errors import FoundryError
from srfoundry.data import download, unpack


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def packed(path: Path, members: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in members.items():
                file.writestr(name, data)
        return path
    with tarfile.open(path, f"w:{path.suffix[1:].replace('tar', '')}") as tar:  # pyright: ignore[reportArgumentType, reportCallIssue]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


KINDS = ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz", "a.tar.bz2"]


@pytest.mark.parametrize("name", KINDS)
def test_photographs_are_unpacked_and_nothing_else(tmp_path: Path, name: str) -> None:
    members = {"set/1.PNG": b"one", "./set/deep/2.jpg": b"two" * 1000, "win\\3.bmp": b"three", "readme.txt": b"text"}
    archive = packed(
        tmp_path / name, members | {"__MACOSX/set/._1.png": b"x", "set/._1.png": b"x", ".trash/4.png": b""}
    )
    found = unpack.extract(archive, tmp_path / "to")
    assert files(found) == {"set/1.PNG": b"one", "set/deep/2.jpg": b"two" * 1000, "win/3.bmp": b"three"}
    assert found.parent == tmp_path / "to" and found.name.startswith(f"{name}-") and len(found.name) == len(name) + 13
    (found / "mark").touch()
    assert unpack.extract(archive, tmp_path / "to") == found and (found / "mark").exists(), "not again"
    packed(archive, {"5.png": b"five"})
    assert files(unpack.extract(archive, tmp_path / "to")) == {"5.png": b"five"}, "a changed archive is unpacked anew"


def test_the_folder_is_called_after_the_checksum(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"1.png": b"one"})
    checksum = sha(archive.read_bytes())
    download.fetch(str(archive), checksum, tmp_path / "to")
    assert unpack.extract(archive, tmp_path / "to").name == f"a.zip-{checksum[7:19]}"


def test_what_a_kill_left_is_cleared(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"1.png": b"one"})
    found = unpack.extract(archive, tmp_path)
    left = found.rename(tmp_path / f".{found.name}.part")
    (left / "half.png").write_text("half")
    assert files(unpack.extract(archive, tmp_path)) == {"1.png": b"one"} and not left.exists()


@pytest.mark.parametrize("kind", KINDS[:3])
@pytest.mark.parametrize("name", ["../1.png", "a/../../1.png", "/1.png", "..\\1.png"])
def test_a_member_that_leaves_the_folder_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    archive = packed(tmp_path / kind, {"0.png": b"good", name: b"bad"})
    with pytest.raises(FoundryError, match="leaves the folder"):
        unpack.extract(archive, tmp_path / "x" / "to")
    assert not files(tmp_path / "x" / "to").keys() - {f"{kind}.lock"} and not list(tmp_path.rglob("1.png"))


def test_links_and_devices_stay_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"{kind.decode()}.png")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        tar.addfile(tarfile.TarInfo("good.png"))
    assert files(unpack.extract(tmp_path / "a.tar", tmp_path)) == {"good.png": b""}
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
        file.writestr("good.png", "good")
    assert files(unpack.extract(tmp_path / "a.zip", tmp_path)) == {"good.png": b"good"}


@pytest.mark.parametrize("kind", ["a.zip", "a.tar.gz"])
def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(unpack, "BOMB_FLOOR", 10**6)
    archive = packed(tmp_path / kind, {"1.png": bytes(3 * 10**6)})
    assert unpack.BOMB_RATIO * archive.stat().st_size < 3 * 10**6, "deflate shrinks zeros a thousandfold"
    with pytest.raises(FoundryError, match=r"would unpack to 0\.0 GB"):
        unpack.extract(archive, tmp_path)
    many = packed(tmp_path / f"many{kind[1:]}", {f"{index}.png": b"" for index in range(400)})
    monkeypatch.setattr(unpack, "BOMB_RATIO", 1)
    with pytest.raises(FoundryError, match="would unpack"):  # a million empty files fill a disk too
        unpack.extract(many, tmp_path)


def test_a_member_longer_than_it_says_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"1.png": bytes(5000)})
    data = archive.read_bytes()
    archive.write_bytes(data.replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little")))
    with pytest.raises(FoundryError, match=r"a\.zip cannot be unpacked"):
        unpack.extract(archive, tmp_path)


def test_a_member_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FoundryError, match="cannot be unpacked"):
        unpack.extract(packed(tmp_path / "a.tar", {"1.png": b"one", "./1.png": b"two"}), tmp_path)


def test_an_archive_without_photographs_is_said(tmp_path: Path) -> None:
    with pytest.raises(FoundryError, match="holds no photograph"):
        unpack.extract(packed(tmp_path / "a.zip", {"1.txt": b"one"}), tmp_path)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("harm", ["cut", "flip", "noise", "empty"])
def test_a_damaged_archive_is_named(tmp_path: Path, name: str, harm: str) -> None:
    photograph = b"".join(hashlib.sha256(bytes([index])).digest() for index in range(250)) * 5
    archive = packed(tmp_path / name, {"1.png": photograph, "2.png": photograph[::-1]})
    data = bytearray(archive.read_bytes())
    if harm == "flip":
        data[len(data) // 3 : len(data) // 3 + 200] = bytes(200)
    changed = {"cut": data[: len(data) // 3], "flip": data, "noise": photograph, "empty": b""}[harm]
    archive.write_bytes(changed)
    if (name, harm) == ("a.tar", "flip"):
        pytest.skip("a plain tar has no checksum of its contents; fetch has one")
    with pytest.raises(FoundryError, match=f"{name} ") as caught:
        unpack.extract(archive, tmp_path)
    assert "\n" not in str(caught.value) and {path.name for path in tmp_path.iterdir()} == {name, f"{name}.lock"}


def test_an_archive_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FoundryError, match="cannot work in"):
        unpack.extract(tmp_path / "none.zip", tmp_path)


def test_an_archive_whose_lists_lie_is_named(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("a.png", b"x" * 100)
    whole = bytearray(packed.getvalue())
    entry = whole.index(b"PK\1\2")
    whole[entry + 42 : entry + 46] = b"\xff\xff\xff\x7f"  # where its member begins
    end = whole.index(b"PK\5\6")
    whole[end + 16 : end + 20] = (entry + 2**20).to_bytes(4, "little")  # where the list itself does
    for name, data in (
        ("far.zip", whole),
        ("long.zip", _of("x" * 300 + ".png")),
        ("deep.zip", _of("d/" * 3000 + "a.png")),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FoundryError, match=name):
            unpack.extract(tmp_path / name, tmp_path / "out")


def _of(name: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr(name, b"x")
    return packed.getvalue()


def test_whatever_a_parser_raises_names_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zip").write_bytes(_of("a.png"))
    monkeypatch.setattr(zipfile.ZipFile, "infolist", lambda self: [][0])
    with pytest.raises(FoundryError, match="a.zip cannot be unpacked"):
        unpack.extract(tmp_path / "a.zip", tmp_path / "out")

"""Photographs are gathered whole or named, wherever they come from."""

import hashlib
import shutil
import zipfile
from pathlib import Path
from typing import Literal

import pytest

from srfoundry.core.errors import FoundryError
from srfoundry.core.parallel import threads
from srfoundry.data import sources, splits
from srfoundry.data.settings import Archive
from tests.albums import folder, serial, source


def gather(path: Path, on_bad_image: Literal["stop", "skip"] = "stop") -> sources.Gathered:
    wanted = source(on_bad_image=on_bad_image)
    return sources.gather(sources.listed(wanted, path), wanted, mapped=serial)


def test_nested_folders_give_unlike_names(tmp_path: Path) -> None:
    found = gather(folder(tmp_path, "a.png", "b/a.png"))
    assert sorted(found.photographs) == ["a", "b__a"] and not found.skipped
    one = found.photographs["b__a"]
    assert (one.path, one.height, one.width, len(one.likeness)) == (tmp_path / "b" / "a.png", 40, 40, 64)


def test_a_bad_image_stops_or_is_named(tmp_path: Path) -> None:
    folder(tmp_path, "good.png")
    folder(tmp_path, "small.png", size=20)
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(FoundryError, match=r"small\.png.*smaller.*on_bad_image to skip\)$"):
        gather(tmp_path)
    found = gather(tmp_path, "skip")
    assert list(found.photographs) == ["good"] and set(found.skipped) == {"small.png", "text.jpg"}
    assert not any(str(tmp_path) in why for why in found.skipped.values())


def test_a_picture_of_a_kind_that_is_not_read_is_a_bad_image(tmp_path: Path) -> None:
    """As phones and cameras write them; what is no picture is none."""
    folder(tmp_path, "good.png", "IMG_1.jpg")
    for name in ("IMG_1.HEIC", "raw/x.cr2", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(FoundryError, match=r"IMG_1\.HEIC is of a kind that is not read; .*on_bad_image to skip\)$"):
        gather(tmp_path)
    found = gather(tmp_path, "skip")
    assert set(found.photographs) == {"good", "IMG_1"} and set(found.skipped) == {"IMG_1.HEIC", "raw/x.cr2"}
    assert not any(str(tmp_path) in why for why in found.skipped.values())
    for name in ("good.png", "IMG_1.jpg"):
        (tmp_path / name).unlink()
    with pytest.raises(FoundryError, match=r"holds no photograph \(but 1 \.cr2, 1 \.heic, which are not read\); put"):
        gather(tmp_path, "skip")


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(FoundryError, match="holds no photograph"):
        gather(tmp_path)
    with pytest.raises(FoundryError, match="not a folder"):
        gather(tmp_path / "none")
    folder(tmp_path, "small.png", size=20)
    with pytest.raises(FoundryError, match=r"none of 1 .* first: small\.png is 20x20"):
        gather(tmp_path, "skip")
    with pytest.raises(FoundryError, match="none of 0"):
        sources.gather([], source(on_bad_image="skip"), mapped=serial)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FoundryError, match="two photographs"):
        gather(folder(tmp_path, "a.png", "a.bmp"))


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    folder(tmp_path, *(f"{index}.png" for index in range(20)), *(f"x/{index}.jpg" for index in range(5)))
    folder(tmp_path, "small1.png", "small2.png", size=20)
    (tmp_path / "1.webp").write_bytes(b"RIFF")
    paths = sources.listed(source(), tmp_path)
    found = [
        sources.gather(paths, source(on_bad_image="skip"), mapped=mapped) for mapped in (serial, threads(1), threads(3))
    ]
    assert found[0] == found[1] == found[2]
    assert list(found[0].photographs) == list(found[2].photographs) and len(found[0].skipped) == 3
    for mapped in (serial, threads(3)):
        with pytest.raises(FoundryError, match=r"1\.webp"):
            sources.gather(paths, source(), mapped=mapped)


def test_the_bundled_photographs_are_listed_by_stem(tmp_path: Path) -> None:
    found = sources.listed(source("bundled"), tmp_path)
    assert len(found) == 18 and all(shown == path.stem for shown, path in found)


def test_archives_are_listed_by_what_is_in_them(tmp_path: Path) -> None:
    folder(tmp_path / "in", "a.png", "deep/b.png")
    given: list[Archive] = []
    for name, top in (("set.zip", "set"), ("other.v1.zip", "x")):  # the first has one folder of its own name
        with zipfile.ZipFile(tmp_path / name, "w") as file:
            for inner in ("a.png", "deep/b.png"):
                file.write(tmp_path / "in" / inner, f"{top}/{inner}")
        checksum = f"sha256:{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}"
        given.append(Archive(url=str(tmp_path / name), checksum=checksum))
    wanted = source("archives", archives=given)
    found = sources.listed(wanted, tmp_path)
    assert [shown for shown, _ in found] == [
        *("set/a.png", "set/deep/b.png"),
        *("other.v1/x/a.png", "other.v1/x/deep/b.png"),
    ]
    assert found == sources.listed(wanted, tmp_path)
    gathered = sources.gather(found, wanted, mapped=serial)
    assert set(splits.scenes(gathered.photographs).values()) == {"other.v1__x__a", "other.v1__x__deep__b"}
    shutil.copytree(tmp_path, tmp_path / "twin", ignore=shutil.ignore_patterns("downloads", "in"))
    with pytest.raises(FoundryError, match="both be called set"):
        twin = Archive(url=f"{tmp_path}/twin/set.zip", checksum=given[0].checksum)
        sources.listed(source("archives", archives=[given[0], twin]), tmp_path)
    with pytest.raises(FoundryError, match="none in synthesize.archives"):
        sources.listed(source("archives"), tmp_path)

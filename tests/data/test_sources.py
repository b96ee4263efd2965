"""Photographs are gathered whole or named, and no scene falls on both sides of the split."""

import hashlib
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import pytest
from PIL import Image

from srfoundry.core.errors import FoundryError
from srfoundry.core.parallel import threads
from srfoundry.data import sources
from srfoundry.imaging import images

Item = TypeVar("Item")
Result = TypeVar("Result")


def serial(function: Callable[[Item], Result], items: Sequence[Item], title: str) -> Iterator[Result]:
    return map(function, items)


def folder(path: Path, *names: str, size: int = 40) -> Path:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((size, size), 90).save(path / name)
    return path


def gather(path: Path, on_bad_image: Literal["stop", "skip"] = "stop") -> sources.Gathered:
    paths = sources.listed("folder", path, [], path)
    return sources.gather(paths, smallest=32, on_bad_image=on_bad_image, mapped=serial)


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


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(FoundryError, match="holds no photograph"):
        gather(tmp_path)
    with pytest.raises(FoundryError, match="not a folder"):
        gather(tmp_path / "none")
    folder(tmp_path, "small.png", size=20)
    with pytest.raises(FoundryError, match=r"none of 1 .* first: small\.png is 20x20"):
        gather(tmp_path, "skip")
    with pytest.raises(FoundryError, match="none of 0"):
        sources.gather([], smallest=32, on_bad_image="skip", mapped=serial)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FoundryError, match="two photographs"):
        gather(folder(tmp_path, "a.png", "a.bmp"))


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    folder(tmp_path, *(f"{index}.png" for index in range(20)), *(f"x/{index}.jpg" for index in range(5)))
    folder(tmp_path, "small1.png", "small2.png", size=20)
    (tmp_path / "1.webp").write_bytes(b"RIFF")
    paths = sources.listed("folder", tmp_path, [], tmp_path)
    found = [
        sources.gather(paths, smallest=32, on_bad_image="skip", mapped=mapped)
        for mapped in (serial, threads(1), threads(3))
    ]
    assert found[0] == found[1] == found[2]
    assert list(found[0].photographs) == list(found[2].photographs) and len(found[0].skipped) == 3
    for mapped in (serial, threads(3)):
        with pytest.raises(FoundryError, match=r"1\.webp"):
            sources.gather(paths, smallest=32, on_bad_image="stop", mapped=mapped)


def test_the_bundled_photographs_are_listed_by_stem(tmp_path: Path) -> None:
    found = sources.listed("bundled", tmp_path, [], tmp_path)
    assert len(found) == 18 and all(shown == path.stem for shown, path in found)


def test_archives_are_listed_by_what_is_in_them(tmp_path: Path) -> None:
    folder(tmp_path / "in", "a.png", "deep/b.png")
    given: list[tuple[str, str]] = []
    for name, top in (("set.zip", "set"), ("other.v1.zip", "x")):  # the first has one folder of its own name
        with zipfile.ZipFile(tmp_path / name, "w") as file:
            for inner in ("a.png", "deep/b.png"):
                file.write(tmp_path / "in" / inner, f"{top}/{inner}")
        given.append((str(tmp_path / name), f"sha256:{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}"))
    found = sources.listed("archives", tmp_path, given, tmp_path / "cache")
    assert [shown for shown, _ in found] == [
        *("set/a.png", "set/deep/b.png"),
        *("other.v1/x/a.png", "other.v1/x/deep/b.png"),
    ]
    assert found == sources.listed("archives", tmp_path, given, tmp_path / "cache")
    gathered = sources.gather(found, smallest=32, on_bad_image="stop", mapped=serial)
    assert set(sources.scenes(gathered.photographs).values()) == {"other.v1__x__a", "other.v1__x__deep__b"}
    shutil.copytree(tmp_path, tmp_path / "twin", ignore=shutil.ignore_patterns("cache", "in"))
    with pytest.raises(FoundryError, match="both be called set"):
        sources.listed("archives", tmp_path, [given[0], (f"{tmp_path}/twin/set.zip", given[0][1])], tmp_path / "cache")
    with pytest.raises(FoundryError, match="none in synthesize.archives"):
        sources.listed("archives", tmp_path, [], tmp_path / "cache")


def test_views_of_one_scene_stay_together() -> None:
    names = ["brick", "coffee", "motorcycle_left", "motorcycle_right", "page"]
    parts = sources.split(names, held_out=["motorcycle_left"], validation=["page"], seed=1)
    assert parts["held_out"] == ["motorcycle_left", "motorcycle_right"]
    assert sorted(sum(parts.values(), [])) == names


def test_a_share_is_stable_when_photographs_come() -> None:
    names = [f"p{index}" for index in range(400)]
    before = sources.split(names[:100], held_out=0.2, validation=0.1, seed=1)
    after = sources.split(names, held_out=0.2, validation=0.1, seed=1)
    assert all(set(before[part]) <= set(after[part]) for part in sources.SPLITS)
    assert len(after["held_out"]) == pytest.approx(80, abs=20) and len(after["validation"]) == pytest.approx(40, abs=15)


def test_a_small_share_of_few_photographs_is_one() -> None:
    for seed in range(20):
        parts = sources.split(["a", "b", "c"], held_out=0.01, validation=0.01, seed=seed)
        assert [len(parts[part]) for part in sources.SPLITS] == [1, 1, 1]


@pytest.mark.parametrize(
    ("held_out", "validation", "said"),
    [
        (["x"], ["b"], "'x'"),
        (["a"], ["a"], "both name 'a'"),
        (["a", "b"], ["b", "c"], "both name 'b'"),
        (["a", "b", "c"], 0.1, "no photograph is left for"),
        (["a", "b"], ["c"], "left to train"),
    ],
)
def test_impossible_splits_are_said(held_out: list[str], validation: list[str] | float, said: str) -> None:
    with pytest.raises(FoundryError, match=said):
        sources.split(["a", "b", "c"], held_out=held_out, validation=validation, seed=1)


def test_near_duplicates_named_on_two_sides_are_said() -> None:
    with pytest.raises(FoundryError, match="'a'.*'b'.*near-duplicates"):
        sources.split(["a", "b", "c"], held_out=["a"], validation=["b"], seed=1, scenes={"a": "a", "b": "a"})
    with pytest.raises(FoundryError, match="'motorcycle_right'.*'motorcycle_left'"):
        names = ["brick", "motorcycle_left", "motorcycle_right"]
        sources.split(names, held_out=["motorcycle_right"], validation=["motorcycle_left"], seed=1)


def test_known_scenes_and_likeness_join() -> None:
    """A copy of one view brings it to the scene of both views."""
    hashes = {
        "motorcycle_left": "00" * 32,
        "motorcycle_right": "ff" * 16 + "00" * 16,
        "copy": "00" * 32,
        "z": "0f" * 32,
    }
    photographs = {name: sources.Photograph(Path(name), 40, 40, text) for name, text in hashes.items()}
    scenes = sources.scenes(photographs)
    assert scenes == {"copy": "copy", "motorcycle_left": "copy", "motorcycle_right": "copy", "z": "z"}
    del photographs["copy"]
    assert sources.scenes(photographs)["motorcycle_left"] == "motorcycle"


def test_copies_never_fall_on_both_sides(tmp_path: Path) -> None:
    """From files to the split: re-encoded, resized and mirrored copies stay with their photograph."""
    for path in images.bundled()[:9]:
        with Image.open(path) as file:
            picture = file.convert("RGB")
        picture.thumbnail((256, 256))
        (tmp_path / path.stem).mkdir()
        half = (picture.width // 2, picture.height // 2)
        picture.save(tmp_path / path.stem / "original.png")
        picture.save(tmp_path / path.stem / "strong.jpg", quality=30)
        picture.resize(half).save(tmp_path / path.stem / "half.webp", quality=70)
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / path.stem / "mirrored.jpg")
    photographs = gather(tmp_path).photographs
    scenes = sources.scenes(photographs)
    for seed in range(50):
        parts = sources.split(list(photographs), held_out=0.2, validation=0.2, seed=seed, scenes=scenes)
        of = {name.split("__")[0]: part for part, members in parts.items() for name in members}
        assert all(of[name.split("__")[0]] == part for part, members in parts.items() for name in members)
        assert all(len(members) % 4 == 0 and members for members in parts.values())

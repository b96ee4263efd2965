"""No scene falls on both sides of the split."""

from pathlib import Path

import pytest
from PIL import Image

from srfoundry.core.errors import FoundryError
from srfoundry.data import sources, splits
from srfoundry.data.settings import Split
from srfoundry.imaging import images
from tests.albums import folder, serial, source


def test_views_of_one_scene_stay_together() -> None:
    names = ["brick", "coffee", "motorcycle_left", "motorcycle_right", "page"]
    parts = splits.deal(names, Split(held_out=["motorcycle_left"], validation=["page"]), seed=1)
    assert parts["held_out"] == ["motorcycle_left", "motorcycle_right"]
    assert sorted(sum(parts.values(), [])) == names


def test_a_share_is_stable_when_photographs_come() -> None:
    names = [f"p{index}" for index in range(400)]
    before = splits.deal(names[:100], Split(held_out=0.2, validation=0.1), seed=1)
    after = splits.deal(names, Split(held_out=0.2, validation=0.1), seed=1)
    assert all(set(before[part]) <= set(after[part]) for part in splits.SPLITS)
    assert len(after["held_out"]) == pytest.approx(80, abs=20) and len(after["validation"]) == pytest.approx(40, abs=15)


def test_a_copy_that_arrives_moves_nothing_out_of_training() -> None:
    """Whatever its name; the share of scenes stays about right where few have copies."""
    names, wanted = [f"IMG_{index:03d}" for index in range(100)], Split(held_out=0.2, validation=0.1)
    before = splits.deal(names, wanted, seed=1)
    for prefix in ("A", "Z"):
        copies = {f"{prefix}_{name}": name for name in names}
        for copy, name in copies.items():
            label = min(copy, name)
            after = splits.deal([*names, copy], wanted, seed=1, scenes={copy: label, name: label})
            assert set(before["train"]) <= set(after["train"])
        scenes = {one: min(copy, name) for copy, name in list(copies.items())[:20] for one in (copy, name)}
        after = splits.deal([*names, *list(copies)[:20]], wanted, seed=1, scenes=scenes)
        assert set(before["train"]) <= set(after["train"]) and 10 <= len(after["held_out"]) <= 25


def test_a_small_share_of_few_photographs_is_one() -> None:
    for seed in range(20):
        parts = splits.deal(["a", "b", "c"], Split(held_out=0.01, validation=0.01), seed=seed)
        assert [len(parts[part]) for part in splits.SPLITS] == [1, 1, 1]


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
        splits.deal(["a", "b", "c"], Split(held_out=held_out, validation=validation), seed=1)


def test_near_duplicates_named_on_two_sides_are_said() -> None:
    with pytest.raises(FoundryError, match="'a'.*'b'.*near-duplicates"):
        splits.deal(["a", "b", "c"], Split(held_out=["a"], validation=["b"]), seed=1, scenes={"a": "a", "b": "a"})
    with pytest.raises(FoundryError, match="'motorcycle_right'.*'motorcycle_left'"):
        names = ["brick", "motorcycle_left", "motorcycle_right"]
        splits.deal(names, Split(held_out=["motorcycle_right"], validation=["motorcycle_left"]), seed=1)


def test_known_scenes_and_likeness_join() -> None:
    """A copy of one view brings it to the scene of both views."""
    hashes = {
        "motorcycle_left": "00" * 32,
        "motorcycle_right": "ff" * 16 + "00" * 16,
        "copy": "00" * 32,
        "z": "0f" * 32,
    }
    photographs = {name: sources.Photograph(Path(name), 40, 40, text) for name, text in hashes.items()}
    scenes = splits.scenes(photographs)
    assert scenes == {"copy": "copy", "motorcycle_left": "copy", "motorcycle_right": "copy", "z": "z"}
    del photographs["copy"]
    assert splits.scenes(photographs)["motorcycle_left"] == "motorcycle"


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
    photographs = sources.gather(sources.listed(source(), tmp_path), source(), mapped=serial).photographs
    scenes = splits.scenes(photographs)
    for seed in range(50):
        parts = splits.deal(list(photographs), Split(held_out=0.2, validation=0.2), seed=seed, scenes=scenes)
        of = {name.split("__")[0]: part for part, members in parts.items() for name in members}
        assert all(of[name.split("__")[0]] == part for part, members in parts.items() for name in members)
        assert all(len(members) % 4 == 0 and members for members in parts.values())


def test_a_collection_says_what_became_of_every_file(tmp_path: Path) -> None:
    names = [f"{index}.png" for index in range(6)]
    folder(tmp_path, *names)
    folder(tmp_path, "small.png", size=20)
    wanted = Split(held_out=["0"], validation=["1"])
    found = splits.collect(source(on_bad_image="skip"), wanted, tmp_path, seed=1, mapped=serial)
    assert list(found.part("held_out")) == ["0"] and list(found.part("validation")) == ["1"]
    assert found.figures()["counts"] == {"train": 4, "held_out": 1, "validation": 1}
    assert list(found.figures()["skipped"]) == ["small.png"] and found.alike() == []
    with pytest.raises(FoundryError, match="'none'"):
        splits.collect(source(), Split(held_out=["none"], validation=["1"]), tmp_path, seed=1, mapped=serial)

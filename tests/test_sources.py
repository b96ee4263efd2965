"""Photographs are gathered whole or named, and no scene falls on both sides of the split."""

from pathlib import Path

import pytest
from PIL import Image

from srfoundry import sources
from srfoundry.errors import FoundryError


def folder(path: Path, *names: str, size: int = 40) -> Path:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((size, size), 90).save(path / name)
    return path


def test_nested_folders_give_unlike_names(tmp_path: Path) -> None:
    found = sources.gather("folder", folder(tmp_path, "a.png", "b/a.png"), smallest=32, on_bad_image="stop")
    assert sorted(found.photographs) == ["a", "b__a"] and not found.skipped


def test_a_bad_image_stops_or_is_named(tmp_path: Path) -> None:
    folder(tmp_path, "good.png")
    folder(tmp_path, "small.png", size=20)
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(FoundryError, match=r"small\.png.*smaller.*on_bad_image"):
        sources.gather("folder", tmp_path, smallest=32, on_bad_image="stop")
    found = sources.gather("folder", tmp_path, smallest=32, on_bad_image="skip")
    assert list(found.photographs) == ["good"] and set(found.skipped) == {"small.png", "text.jpg"}


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(FoundryError, match="holds no photograph"):
        sources.gather("folder", tmp_path, smallest=32, on_bad_image="stop")
    with pytest.raises(FoundryError, match="not a folder"):
        sources.gather("folder", tmp_path / "none", smallest=32, on_bad_image="stop")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FoundryError, match="two photographs"):
        sources.gather("folder", folder(tmp_path, "a.png", "a.bmp"), smallest=32, on_bad_image="stop")


def test_views_of_one_scene_stay_together() -> None:
    names = ["brick", "coffee", "motorcycle_left", "motorcycle_right", "page"]
    parts = sources.split(names, held_out=["motorcycle_left"], validation=["page"], seed=1)
    assert parts["held_out"] == ["motorcycle_left", "motorcycle_right"]
    assert sorted(sum(parts.values(), [])) == names


def test_a_share_is_stable_when_photographs_come() -> None:
    names = [f"p{index}" for index in range(40)]
    before = sources.split(names, held_out=0.2, validation=0.1, seed=1)
    after = sources.split([*names, "new"], held_out=0.2, validation=0.1, seed=1)
    assert len(before["held_out"]) == 8 and len(before["validation"]) == 4
    assert len(set(before["held_out"]) & set(after["held_out"])) >= 7


@pytest.mark.parametrize(
    ("held_out", "validation", "said"),
    [(["x"], ["b"], "'x'"), (["a"], ["a"], "no photograph is left"), (["a", "b"], ["c"], "left to train")],
)
def test_impossible_splits_are_said(held_out: list[str], validation: list[str], said: str) -> None:
    with pytest.raises(FoundryError, match=said):
        sources.split(["a", "b", "c"], held_out=held_out, validation=validation, seed=1)

"""The member that fits a photograph is taken, loaded once, and named with the reason."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from srfoundry.core.errors import FoundryError
from srfoundry.imaging import user_image
from srfoundry.imaging.damage import Damage
from srfoundry.runtime import chooser, choosing
from srfoundry.runtime.chooser import Chooser, Taken
from srfoundry.runtime.upscaler import Upscaler
from tests import photographs, tiny
from tests.mlflow_stub import ABSENT, Answer, Stub, version
from tests.photographs import blurred, clean, noisy, packed


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the members pruned, pruned50 and photo."""
    folder = tmp_path_factory.mktemp("exports")
    for name in ("pruned", "pruned50", "photo"):
        (folder / f"{name}.onnx").write_bytes(tiny.exported()[0])
    return folder


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which models were loaded."""
    found: list[str] = []
    load = Upscaler.load

    def counted(model: str, **options: object) -> Upscaler:
        found.append(Path(model).stem)
        return load(model, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Upscaler, "load", counted)
    return found


@pytest.mark.parametrize("name", photographs.NAMES)
def test_clean_photographs_get_the_clean_member_and_damaged_ones_the_other(name: str) -> None:
    def kind(image: Image.Image) -> str:
        return choosing.choose(user_image.of(image)).kind

    image = clean(name)
    assert kind(image) == kind(packed(image, 92)) == "clean"
    assert kind(blurred(image, 1.0)) == kind(noisy(image, 8)) == kind(packed(image, 50)) == "photo"


@pytest.mark.parametrize(
    ("seen", "kind", "why"),
    [
        (Damage(None, 0.4, 0.33, 9.0), "clean", "no JPEG, noise 0.4, blur 0.33"),
        (Damage(95, 0.4, 0.33, 9.0), "clean", "JPEG quality 95"),
        (Damage(60, 0.4, 0.33, 9.0), "photo", "a JPEG of quality 60"),
        (Damage(None, 7.0, 0.33, 9.0), "photo", "noise is 7.0 of 255"),
        (Damage(None, 0.4, 0.6, 9.0), "clean", "blur 0.60"),  # out of focus, but reduced cleanly
        (Damage(None, 0.4, 0.6, 20.0), "photo", "blurred by 0.60 pixels"),
        (Damage(60, 7.0, 0.9, 9.0), "photo", "quality 60 and its noise is 7.0 of 255 and its sharpest"),
    ],
)
def test_the_reason_is_what_was_seen(seen: Damage, kind: str, why: str) -> None:
    choice = choosing.fitting(seen)
    assert choice.kind == kind and why in choice.why and choice.seen == seen


def test_files_pictures_and_pixels_are_seen_alike(exports: Path, tmp_path: Path, loads: list[str]) -> None:
    made = Chooser.load(str(exports), threads=1, device="cpu")
    assert loads == ["pruned"] and made.scale == 2
    clean("coffee").save(tmp_path / "clean.png")
    clean("coffee").save(tmp_path / "q98.jpg", quality=98)
    clean("coffee").save(tmp_path / "q40.jpg", quality=40)
    for name, member in (("clean.png", "pruned"), ("q98.jpg", "pruned"), ("q40.jpg", "photo"), ("q40.jpg", "photo")):
        taken = made.file(tmp_path / name, tmp_path / "large.png")
        assert taken is not None and taken.member == member
    assert loads == ["pruned", "photo"]
    with Image.open(tmp_path / "q40.jpg") as opened:
        pixels = np.asarray(opened)
        assert [made.chosen(each)[1] for each in (opened, pixels)] == [taken, taken]
        large = made(pixels)
        for given in (tmp_path / "q40.jpg", opened, torch.from_numpy(pixels.copy())):
            assert np.array_equal(np.asarray(made(given)), large)


def test_the_tables_of_a_file_count_where_its_pixels_say_nothing(exports: Path, tmp_path: Path) -> None:
    made = Chooser.load(exports, threads=1, device="cpu")
    Image.new("RGB", (20, 20), (90, 120, 30)).save(tmp_path / "flat.jpg", quality=40)
    taken = made.file(tmp_path / "flat.jpg", tmp_path / "large.png")
    assert taken == Taken("photo", "it was a JPEG of quality 40")


def test_without_a_model_for_photographs_nothing_is_said(exports: Path, tmp_path: Path) -> None:
    shutil.copy(exports / "pruned50.onnx", tmp_path)
    made = Chooser.load(tmp_path, threads=1, device="cpu")
    clean("coffee").save(tmp_path / "q40.jpg", quality=40)
    assert made.pair.clean[0] == "pruned50" and made.file(tmp_path / "q40.jpg", tmp_path / "large.png") is None


def test_a_member_of_another_scale_is_not_taken(exports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Chooser.load(exports, threads=1, device="cpu")
    other = Upscaler.load(tiny.exported()[0], threads=1, device="cpu")
    other.model.scale = 4
    monkeypatch.setattr(made, "_photo", other)
    upscaler, taken = made.chosen(packed(clean("coffee"), 40))
    assert upscaler.scale == 2 and taken is not None
    assert taken.member == "pruned" and "photo would fit, but enlarges by 4" in taken.why


def test_members_of_a_folder_by_name(exports: Path, tmp_path: Path) -> None:
    named = {wanted: Path(chooser.named(exports, wanted)).name for wanted in ("clean", "photo", "pruned50")}
    assert named == {"clean": "pruned.onnx", "photo": "photo.onnx", "pruned50": "pruned50.onnx"}
    with pytest.raises(FoundryError, match="clean, photo or one of photo, pruned, pruned50, got fast"):
        chooser.named(exports, "fast")
    with pytest.raises(FoundryError, match="make repro"):
        chooser.find(tmp_path)
    shutil.copy(exports / "pruned.onnx", tmp_path)
    with pytest.raises(FoundryError, match="no model for photographs"):
        chooser.named(tmp_path, "photo")


@pytest.mark.parametrize("aliases", [("champion", "photo50"), ("champion",)])
def test_members_of_a_registry_are_its_aliases(
    aliases: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = tiny.exported()[0]
    with Stub(blob) as registry:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.url)
        monkeypatch.setenv("SRFOUNDRY_CACHE", str(tmp_path / "cache"))
        registry.answers["/api/2.0/mlflow/registered-models/alias"] = lambda query: (
            {"model_version": version(blob)} if query["alias"][0] in aliases else ABSENT
        )
        made = Chooser.load("models:/toy", threads=1)
        photo = ("photo50", "models:/toy@photo50") if "photo50" in aliases else None
        assert made.pair == chooser.Pair(("champion", "models:/toy@champion"), photo)
        assert made.scale == 2


@pytest.mark.parametrize("answer", [500, 403, b"<html>a page</html>"])
def test_a_registry_that_fails_for_photographs_is_not_one_without_a_member_for_them(
    answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Stub() as registry:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.url)
        registry.answers["/api/2.0/mlflow/registered-models/alias"] = lambda query: (
            {"model_version": version(b"the model")} if query["alias"] == ["champion"] else answer
        )
        with pytest.raises(FoundryError, match=r"failed|refuses|is no MLflow server"):
            chooser.find("models:/toy")

"""The coarseness of a WebP, from its header: as much as the JPEG errs that it is likened to."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from srfoundry.imaging import decoding, user_image
from srfoundry.imaging.webp_history import quality_alike
from tests.photographs import NAMES, clean


def blurred(name: str) -> Image.Image:
    whole = clean(name).filter(ImageFilter.GaussianBlur(2))
    return whole.resize((whole.width // 2, whole.height // 2), Image.Resampling.NEAREST)


def alike(path: Path) -> int | None:
    with path.open("rb") as file:
        return quality_alike(file)


def error(image: Image.Image, path: Path) -> float:
    found, right = (np.asarray(each.convert("L"), np.float64) for each in (Image.open(path), image))
    return float((found - right).std())


@pytest.mark.parametrize("quality", [50, 75, 90])
def test_it_is_likened_to_a_jpeg_that_errs_as_much(tmp_path: Path, quality: int) -> None:
    webp, jpeg, ratios = tmp_path / "a.webp", tmp_path / "a.jpg", list[float]()
    for name in NAMES:
        image = blurred(name)
        image.save(webp, quality=quality)
        image.save(jpeg, quality=alike(webp))
        ratios.append(error(image, jpeg) / error(image, webp))
    assert 0.67 < np.median(ratios) < 1.5


def test_a_better_one_is_likened_to_a_better_one(tmp_path: Path) -> None:
    found: list[int] = []
    for quality in (5, 30, 60, 80, 95, 100):
        blurred("coffee").save(tmp_path / "a.webp", quality=quality)
        found.append(alike(tmp_path / "a.webp") or 0)
    assert all(better > worse for worse, better in zip(found, found[1:], strict=False))


@pytest.mark.parametrize("how", [{"save_all": True}, {"exact": True}, {"method": 6}, {"exif": b"Exif\0\0II*\0"}])
def test_chunks_before_it_are_passed_over(tmp_path: Path, how: dict[str, Any]) -> None:
    image = blurred("coffee")
    clear = image.convert("RGBA")
    clear.putalpha(Image.radial_gradient("L").resize(image.size))
    again = [clear.transpose(Image.Transpose.ROTATE_180)] if "save_all" in how else []
    image.save(tmp_path / "plain.webp", quality=75)
    clear.save(tmp_path / "a.webp", quality=75, append_images=again, **how)
    assert alike(tmp_path / "a.webp") == pytest.approx(alike(tmp_path / "plain.webp"), abs=4)


def test_what_lost_nothing_has_none_and_what_is_cut_off_does_no_harm(tmp_path: Path) -> None:
    path, image = tmp_path / "a.webp", blurred("coffee")
    image.save(path, lossless=True)
    assert alike(path) is None
    image.save(path, quality=75)
    whole = path.read_bytes()
    for end in (0, 11, 19, 24, 31, 33, 40):
        path.write_bytes(whole[:end])
        alike(path)
    path.write_bytes(whole[:12] + struct.pack("<4sI", b"ANMF", 0) * 3)
    assert alike(path) is None


def test_a_photograph_knows_how_its_file_was_packed(tmp_path: Path) -> None:
    png, jpeg, webp = (tmp_path / f"a.{ending}" for ending in ("png", "jpg", "webp"))
    blurred("coffee").save(png)
    for path in (jpeg, webp):
        blurred("coffee").save(path, quality=60)
    assert user_image.read(png).quality is None and user_image.read(jpeg).quality == 60
    assert user_image.read(webp).quality == decoding.decode(webp).info["quality_alike"]

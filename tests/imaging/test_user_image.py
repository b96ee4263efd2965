"""A photograph comes back with all that a person sees in it or has written into it."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from srfoundry.core.errors import FoundryError
from srfoundry.imaging import decoding, formats, images, untrusted, user_image
from srfoundry.imaging.user_image import USUAL, Handling

SMOOTH = np.add.outer(np.arange(24) * 5, np.arange(32) * 4).astype(np.uint8)
RGB = np.stack([SMOOTH, 255 - SMOOTH, SMOOTH // 2], -1)


def twice(path: Path, target: Path, how: Handling = USUAL) -> Image.Image:
    """The photograph, each pixel doubled, as it is written."""
    original = user_image.read(path, how)
    user_image.write(original.pixels.repeat(2, 0).repeat(2, 1), original, target, how)
    written = Image.open(target)
    written.load()
    return written


@pytest.mark.parametrize("source", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_date_camera_and_resolution_come_back_and_the_orientation_is_applied_once(
    tmp_path: Path, source: str, ending: str
) -> None:
    exif = Image.Exif()
    exif[271], exif[306], exif[274], exif[282] = "Camera", "2020:01:02 03:04:05", 6, 300
    exif.get_ifd(0x8769).update(
        {36867: "2020:01:02 03:04:05", 33434: TiffImagePlugin.IFDRational(1, 50), 40962: 32, 37500: b"maker's"}
    )
    exif.get_ifd(0x8825).update({1: "N"})
    Image.fromarray(RGB).save(tmp_path / f"a.{source}", exif=exif.tobytes(), dpi=(300, 200))
    written = twice(tmp_path / f"a.{source}", tmp_path / f"b.{ending}")
    with Image.open(tmp_path / f"b.{ending}") as fresh:  # of a TIFF there is nothing more to be read once it is decoded
        found = fresh.getexif()
        inside, place = found.get_ifd(0x8769), found.get_ifd(0x8825)
    assert written.size == (48, 64) and found.get(274, 1) == 1
    assert (found[271], found[306]) == ("Camera", "2020:01:02 03:04:05")
    assert inside[36867] == "2020:01:02 03:04:05" and float(inside[33434]) == 0.02
    assert not {37500, 40962} & set(inside) and place == {1: "N"}
    if source in ("png", "jpg") and ending in ("png", "jpg"):
        assert [round(each) for each in written.info["dpi"]] == [200, 300]  # across and down have changed places


@pytest.mark.parametrize("ending", ["tif", "png", "jpg", "webp"])
def test_a_file_without_a_resolution_is_given_none(tmp_path: Path, ending: str) -> None:
    Image.fromarray(RGB).save(tmp_path / f"a.{ending}")
    assert "dpi" not in user_image.read(tmp_path / f"a.{ending}").metadata
    assert "dpi" not in twice(tmp_path / f"a.{ending}", tmp_path / "b.png").info
    if ending != "webp":
        Image.fromarray(RGB).save(tmp_path / f"a.{ending}", dpi=(300, 200))
        found = user_image.read(tmp_path / f"a.{ending}").metadata["dpi"]
        assert [round(each) for each in found] == [300, 200]


@pytest.mark.parametrize("block", [b"rubbish", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff" + b"\x01\x0f" * 9])
def test_a_corrupt_exif_block_is_left_behind(tmp_path: Path, block: bytes) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + block)
    assert not dict(twice(tmp_path / "a.jpg", tmp_path / "b.jpg").getexif())


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
def test_a_profile_of_greys_goes_where_greys_are_written(tmp_path: Path, ending: str) -> None:
    """WebP knows RGB alone, of which such a profile says nothing."""
    greys = bytes(16) + b"GRAY" + bytes(108)
    Image.fromarray(SMOOTH).save(tmp_path / "a.png", icc_profile=greys)
    assert twice(tmp_path / "a.png", tmp_path / f"b.{ending}").info.get("icc_profile") == (
        None if ending == "webp" else greys
    )
    colours = bytes(16) + b"RGB " + bytes(108)
    Image.fromarray(RGB).save(tmp_path / "a.png", icc_profile=colours)
    assert twice(tmp_path / "a.png", tmp_path / f"b.{ending}").info["icc_profile"] == colours


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "RGB", "P"])
def test_a_profile_of_colours_that_were_converted_is_dropped(mode: str) -> None:
    """As it is of a file: RGB under a printer's profile is shown in wrong colours."""
    picture = Image.new("LAB", (8, 8)) if mode == "LAB" else Image.fromarray(RGB).convert(mode)
    picture.info["icc_profile"] = b"profile"
    assert ("icc_profile" in user_image.of(decoding.plain(picture)).metadata) == (mode in ("RGB", "P"))
    assert picture.info["icc_profile"] == b"profile"


def test_gamma_is_passed_on_or_applied(tmp_path: Path) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"gAMA", struct.pack(">I", 100_000))  # levels are proportional to light
    chunks.add(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))
    Image.fromarray(np.full((8, 8, 3), 55, np.uint8)).save(tmp_path / "a.png", pnginfo=chunks)
    written = twice(tmp_path / "a.png", tmp_path / "b.png")
    assert written.info["gamma"] == 1.0 and written.info["chromaticity"][0] == pytest.approx(0.3127)
    assert written.getpixel((0, 0)) == (55, 55, 55)
    assert twice(tmp_path / "a.png", tmp_path / "b.tif").getpixel((0, 0)) == (128, 128, 128)  # of sRGB


def test_hidden_colours_do_not_shine_through(tmp_path: Path) -> None:
    """A white disc on transparent black has no dark rim: what a network sees around it is white."""
    y, x = np.mgrid[-20:20, -25:26]
    disc = (x**2 + y**2 < 150).astype(np.uint8) * 255
    Image.fromarray(np.dstack([disc, disc, disc, disc])).save(tmp_path / "a.png")
    original = user_image.read(tmp_path / "a.png")
    assert (original.pixels == 255).all() and original.alpha is not None and np.array_equal(original.alpha, disc)
    soft = np.dstack([RGB, np.tile(np.arange(32, dtype=np.uint8) * 8, (24, 1))])
    Image.fromarray(soft).save(tmp_path / "b.png")
    found = user_image.read(tmp_path / "b.png").pixels
    assert np.array_equal(found[:, 1:], RGB[:, 1:])  # what is visible, however faintly, is as it was
    assert np.abs(found[:, 0].astype(int) - RGB[:, 1]).max() < 16
    Image.fromarray(np.dstack([RGB, np.zeros_like(SMOOTH)])).save(tmp_path / "c.png")
    assert np.array_equal(user_image.read(tmp_path / "c.png").pixels, RGB)


def test_opaque_alpha_goes_into_any_format(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([RGB, np.full_like(SMOOTH, 255)])).save(tmp_path / "a.png")
    assert twice(tmp_path / "a.png", tmp_path / "b.jpg").mode == "RGB"
    assert twice(tmp_path / "a.png", tmp_path / "b.png").mode == "RGBA"
    Image.fromarray(np.dstack([RGB, np.full_like(SMOOTH, 254)])).save(tmp_path / "a.png")
    for name in ("c.jpg", "c.bmp"):
        with pytest.raises(FoundryError, match="transparency"):
            twice(tmp_path / "a.png", tmp_path / name)


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_lossy_formats_lose_little_unless_told_to(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).normal(0, 5, RGB.shape)
    Image.fromarray((RGB + noise).clip(0, 255).astype(np.uint8)).save(tmp_path / "a.png")
    true = np.asarray(Image.open(tmp_path / "a.png")).repeat(2, 0).repeat(2, 1).astype(int)
    off = {
        quality: np.abs(np.asarray(twice(tmp_path / "a.png", tmp_path / name, Handling(quality=quality))) - true).mean()
        for quality in (50, 95, 100)
    }
    assert off[100] <= off[95] < off[50]
    if name == "a.webp":
        assert off[100] == 0
    else:
        with Image.open(tmp_path / name) as written:
            assert written.layer[0][1:3] == (1, 1)  # pyright: ignore[reportAttributeAccessIssue]  (4:4:4)


@pytest.mark.parametrize(("name", "longest"), [("a.webp", 16_383), ("a.jpg", 65_500)])
def test_what_a_format_cannot_hold_is_said_before_the_work(tmp_path: Path, name: str, longest: int) -> None:
    whole = user_image.Photograph(np.zeros((2, longest, 3), np.uint8), None, False, {})
    user_image.check_target(whole, tmp_path / name)
    with pytest.raises(FoundryError, match=rf"{2 * longest}x4 pixels.*{longest:,} a side.*\.png"):
        user_image.check_target(whole, tmp_path / name, 2)
    user_image.check_target(whole, tmp_path / "a.png", 2)


def test_a_format_of_few_colours_is_no_place_for_a_photograph(tmp_path: Path) -> None:
    for name in ("a.gif", "a.xyz", "a"):
        with pytest.raises(FoundryError, match="names no picture format of .png"):
            formats.format_of(tmp_path / name)


def test_the_largest_image_is_a_matter_of_choice(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    with pytest.raises(FoundryError, match="32x24 pixels, more than 767 .*--largest-megapixels"):
        user_image.read(tmp_path / "a.png", Handling(largest=767))
    assert user_image.size(tmp_path / "a.png", Handling(largest=767)) == (0, 0)
    assert user_image.read(tmp_path / "a.png", Handling(largest=768)).pixels.shape == (24, 32, 3)
    assert untrusted.LARGEST > 12_032 * 9_024  # a phone's 108 megapixels


def test_images_are_written_well_everywhere(tmp_path: Path) -> None:
    image: Any = images.read(_saved(tmp_path / "a.png"))
    images.write(image, tmp_path / "a.jpg")
    assert float((images.read(tmp_path / "a.jpg") - image).abs().mean()) < 1.5 / 255


def _saved(path: Path) -> Path:
    Image.fromarray(RGB).save(path)
    return path

"""Whatever a user calls a photograph is read rightly, or named in one line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from srfoundry import images
from srfoundry.errors import FoundryError

RAMP = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (24, 1))


def test_eight_bit_round_trip_is_exact(tmp_path: Path) -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).expand(1, 16, 16, 3).contiguous()
    image = images.from_uint8(pixels)
    assert image.shape == (1, 3, 16, 16) and float(image.max()) == 1.0
    assert images.to_uint8(image).equal(pixels)
    images.write(image, tmp_path / "new" / "a.png")
    assert images.read(tmp_path / "new" / "a.png").equal(image)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode in ("CMYK", "YCbCr", "PA") else "a.png")
    picture = Image.fromarray(RAMP)
    (picture.convert("LA").convert("PA") if mode == "PA" else picture.convert(mode)).save(path)
    image = images.read(path)
    assert image.shape == (1, 3, 24, 32)
    assert float(image.min()) >= 0 and float(image.max()) <= 1
    if mode in ("L", "LA", "P", "PA", "RGB", "RGBA"):
        assert (images.to_uint8(image)[0, :, :, 0].numpy() == RAMP).all()


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    wide = RAMP.astype(np.uint16) * 257
    Image.fromarray(wide).save(tmp_path / "a.png")
    assert (images.to_uint8(images.read(tmp_path / "a.png"))[0, :, :, 1].numpy() == RAMP).all()


def test_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    Image.fromarray(RAMP).save(tmp_path / "a.png", exif=exif)
    assert images.read(tmp_path / "a.png").shape[-2:] == (32, 24)


def truncated(path: Path) -> None:
    Image.effect_noise((64, 64), 90).save(path, format="PNG")
    path.write_bytes(path.read_bytes()[:900])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b""), "not an image"),
        (lambda path: path.write_bytes(b"hello" * 50), "not an image"),
        (truncated, "damaged"),
        (lambda path: Image.fromarray(np.ones((8, 8), np.float32)).save(path, format="TIFF"), "floats"),
        (lambda path: None, "not found"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    path = tmp_path / "bad.png"
    make(path)
    with pytest.raises(FoundryError, match=said) as caught:
        images.read(path)
    assert "bad.png" in str(caught.value)


def test_a_bomb_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (200, 200)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(FoundryError, match="absurd"):
        images.read(tmp_path / "a.png")


def test_bundled_photographs_are_there() -> None:
    names = [path.stem for path in images.bundled()]
    assert len(names) == 18 and {"astronaut", "coffee", "china"} <= set(names)


def test_luma_is_matlabs() -> None:
    assert float(images.luma(torch.ones(1, 3, 1, 1))) == pytest.approx(235.0, abs=1e-4)
    assert float(images.luma(torch.zeros(1, 3, 1, 1))) == pytest.approx(16.0)

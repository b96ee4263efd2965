"""Whatever a user calls a photograph is read rightly, or named in one line."""

import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import _hostile
from srfoundry.core.errors import FoundryError
from srfoundry.imaging import decoding, images, untrusted, user_image

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
    monkeypatch.setattr(untrusted, "LARGEST", 1000)
    with pytest.raises(
        FoundryError, match="a.png claims 200x200 pixels, more than 1,000 .*; cut it .*--largest-megapixels"
    ):
        images.read(tmp_path / "a.png")


def test_bundled_photographs_are_there() -> None:
    names = [path.stem for path in images.bundled()]
    assert len(names) == 18 and {"astronaut", "coffee", "china"} <= set(names)


def test_luma_is_matlabs() -> None:
    assert float(images.matlab_luma(torch.ones(1, 3, 1, 1))) == pytest.approx(235.0, abs=1e-4)
    assert float(images.matlab_luma(torch.zeros(1, 3, 1, 1))) == pytest.approx(16.0)


WIDE = np.random.default_rng(3).integers(0, 65536, (19, 23, 4)).astype(np.uint16)
WIDE[:2, :, :] = np.arange(184).reshape(2, 23, 4) + 32800  # around the halves
ROUNDED = np.floor(WIDE / 257.0 + 0.5).astype(np.uint8)


def levels(path: Path) -> np.ndarray:
    return images.to_uint8(images.read(path))[0].numpy()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(pixels: np.ndarray, kind: int, bits: int, extra: bytes = b"", size: tuple[int, int] | None = None) -> bytes:
    """A PNG of any kind; Pillow writes no 16-bit colour, and no lies."""
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    height, width = size or pixels.shape[:2]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def tiff(tags: dict[int, int | list[int]], data: bytes, order: str = "<") -> bytes:
    """A TIFF of these numbers; tag 273 or 324, if 0, becomes the place of `data`."""
    listed, spare = b"", b""
    start = 8 + 2 + 12 * len(tags) + 4
    lists = sum(4 * len(value) for value in tags.values() if isinstance(value, list))
    for tag, value in sorted(tags.items()):
        values = value if isinstance(value, list) else [value]
        values = [start + lists + number for number in values] if tag in (273, 324) else values
        if isinstance(value, list):
            listed += struct.pack(order + "HHLL", tag, 4, len(values), start + len(spare))
            spare += struct.pack(f"{order}{len(values)}L", *values)
        else:
            listed += struct.pack(order + "HHLL", tag, 4, 1, values[0])
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(order + "LH", 8, len(tags)) + listed + bytes(4) + spare + data


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bit_png_is_rounded_not_cut(tmp_path: Path, kind: int, channels: int) -> None:
    (tmp_path / "a.png").write_bytes(png(WIDE[..., :channels].astype(">u2"), kind, 16))
    right = ROUNDED[..., [0, 0, 0]] if channels < 3 else ROUNDED[..., :3]
    assert (levels(tmp_path / "a.png") == right).all()
    alpha = user_image.read(tmp_path / "a.png").alpha
    assert (alpha is not None) == (channels in (2, 4))
    if alpha is not None:
        assert (alpha == ROUNDED[..., channels - 1]).all()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("coding", [1, 8])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("tiled", [False, True])
def test_sixteen_bit_tiff_is_rounded_not_cut(
    tmp_path: Path, order: str, coding: int, channels: int, tiled: bool
) -> None:
    wide = WIDE[..., :channels].astype(f"{order}u2")
    tags: dict[int, int | list[int]] = {256: 23, 257: 19, 258: [16] * channels, 259: coding, 277: channels}
    tags |= {262: 1 if channels == 1 else 2} | ({338: 2} if channels == 4 else {})
    if channels == 1:
        tags[258] = 16
    if tiled:
        padded = np.zeros((32, 32, channels), f"{order}u2")
        padded[:19, :23] = wide
        parts = [padded[y : y + 16, x : x + 16].tobytes() for y in (0, 16) for x in (0, 16)]
    else:
        parts = [wide[:10].tobytes(), wide[10:].tobytes()]
    parts = [zlib.compress(part) for part in parts] if coding == 8 else parts
    places = [sum(map(len, parts[:index])) for index in range(len(parts))]
    sizes = [len(part) for part in parts]
    tags |= {322: 16, 323: 16, 324: places, 325: sizes} if tiled else {278: 10, 273: places, 279: sizes}
    (tmp_path / "a.tif").write_bytes(tiff(tags, b"".join(parts), order))
    right = ROUNDED[..., [0, 0, 0]] if channels == 1 else ROUNDED[..., :3]
    assert (levels(tmp_path / "a.tif") == right).all()


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_planes_are_not_taken_for_eight(tmp_path: Path, order: str) -> None:
    planes = WIDE[..., :3].transpose(2, 0, 1).astype(f"{order}u2")
    tags: dict[int, int | list[int]] = {256: 23, 257: 19, 258: [16] * 3, 259: 1, 262: 2, 277: 3, 278: 19, 284: 2}
    tags |= {273: [0, 19 * 46, 2 * 19 * 46], 279: [19 * 46] * 3}
    (tmp_path / "a.tif").write_bytes(tiff(tags, planes.tobytes(), order))
    assert (levels(tmp_path / "a.tif") == ROUNDED[..., :3]).all()


def test_negative_and_twelve_bit_greys(tmp_path: Path) -> None:
    tags: dict[int, int | list[int]] = {256: 23, 257: 19, 258: 16, 259: 1, 262: 0, 273: 0, 277: 1, 278: 19}
    (tmp_path / "a.tif").write_bytes(tiff(tags, (65535 - WIDE[..., 0]).tobytes()))
    assert (levels(tmp_path / "a.tif")[..., 0] == ROUNDED[..., 0]).all()
    packed = bytes([0xFF, 0xF0, 0x00, 0x80, 0x00, 0x00])  # 4095, 0; 2048, 0
    tags |= {256: 2, 257: 2, 258: 12, 262: 1, 278: 2}
    (tmp_path / "b.tif").write_bytes(tiff(tags, packed))
    assert levels(tmp_path / "b.tif")[..., 0].tolist() == [[255, 0], [128, 0]]


@pytest.mark.parametrize("name", [name for name, _ in _hostile.valid()])
def test_every_format_and_mode(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    path.write_bytes(dict(_hostile.valid())[name])
    found = user_image.read(path)
    with Image.open(path) as file:  # compressed or coarse, it is still the picture that Pillow shows
        turned = "exif" in name or (name.startswith("profile.") and file.format != "TIFF")  # Pillow turns TIFF itself
        upright = Image.Image.transpose(file, Image.Transpose.ROTATE_270) if turned else file
        close = np.array(upright.convert("RGB")).astype(int) if not file.mode.startswith("I") else levels(path)
    assert np.abs(levels(path).astype(int) - close).max() <= 1
    seen = slice(None) if found.alpha is None else found.alpha > 0
    assert (found.pixels[seen] == levels(path)[seen]).all()
    assert not any(capfd.readouterr())


TURNED = {1: "012345", 2: "210543", 3: "543210", 4: "345012", 5: "031425", 6: "304152", 7: "524130", 8: "251403"}


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(tmp_path: Path, suffix: str, orientation: int) -> None:
    path, exif = tmp_path / f"a.{suffix}", Image.Exif()
    exif[0x0112] = orientation
    grey = np.kron(np.arange(6).reshape(2, 3) * 50, np.ones((16, 16))).astype(np.uint8)
    options: dict[str, Any] = {"webp": {"lossless": True}, "jpg": {"quality": 95}}.get(suffix, {})
    Image.fromarray(grey).save(path, exif=exif, **options)
    found = (levels(path)[8::16, 8::16, 0] / 50.0).round().astype(int)
    assert "".join(map(str, found.ravel())) == TURNED[orientation]
    assert found.shape == ((2, 3) if orientation < 5 else (3, 2))


@pytest.mark.parametrize(
    "block", [b"", b"rubbish", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12" * 9]
)
def test_a_corrupt_exif_block_is_ignored(tmp_path: Path, block: bytes) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + block, quality=95)
    assert levels(tmp_path / "a.jpg").shape == (24, 32, 3)
    (tmp_path / "a.png").write_bytes(png(RAMP, 0, 8, chunk(b"eXIf", block)))
    assert (levels(tmp_path / "a.png")[..., 0] == RAMP).all()


@pytest.mark.parametrize(("bits", "value"), [(2, 1), (4, 5), (8, 80)])
def test_a_transparent_grey_is_found_at_every_depth(tmp_path: Path, bits: int, value: int) -> None:
    packed = {2: [[0b00011011]], 4: [[0x05, 0xAF]], 8: [[0, 80, 160, 240]]}[bits]
    key = chunk(b"tRNS", struct.pack(">H", value))
    (tmp_path / "a.png").write_bytes(png(np.array(packed, np.uint8), 0, bits, key, (1, 4)))
    alpha = user_image.read(tmp_path / "a.png").alpha
    assert alpha is not None and alpha.flatten().tolist() == [255, 0, 255, 255]


def test_a_transparent_colour_of_sixteen_bits(tmp_path: Path) -> None:
    key = chunk(b"tRNS", struct.pack(">3H", *WIDE[4, 5, :3].tolist()))
    (tmp_path / "a.png").write_bytes(png(WIDE[..., :3].astype(">u2"), 2, 16, key))
    alpha = user_image.read(tmp_path / "a.png").alpha
    assert alpha is not None and np.argwhere(alpha == 0).tolist() == [[4, 5]]


def test_inverted_cmyk_is_not_shown_negative(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 0, 255, 0)).save(tmp_path / "a.jpg", quality=95)  # Pillow writes Adobe's way
    assert np.abs(levels(tmp_path / "a.jpg").astype(int) - [255, 255, 0]).max() <= 2


def scans(count: int) -> bytes:
    packed = io.BytesIO()
    Image.new("L", (64, 64)).save(packed, "JPEG", progressive=True)
    whole = packed.getvalue()
    return whole[:-2] + whole[whole.rfind(b"\xff\xc4") : -2] * count + b"\xff\xd9"


GREY: dict[int, int | list[int]] = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 0, 277: 1, 278: 8}
BLANK = np.zeros((8, 8), np.uint8)
PART = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 4, 4, 0, 0, 1, 1, 0, 0))  # an animation's first frame, too small


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (png(BLANK, 0, 8)[:-20], "truncated"),
        (png(BLANK, 0, 8)[:-13] + b"?" + png(BLANK, 0, 8)[-12:], "wrong checksum"),
        (png(BLANK, 0, 8, size=(9000, 9000)), "too short for the 9000x9000"),
        (png(BLANK, 0, 8, size=(8, 9)), "8 bytes of pixels are missing"),
        (png(BLANK, 0, 8, size=(9, 8)), "9 bytes of pixels are missing"),
        (png(BLANK, 0, 8, chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 9, 8, 0, 0, 0, 0))), "IHDR"),
        (png(BLANK, 0, 8, chunk(b"acTL", bytes(3) + b"\1" + bytes(4)) + PART), "does not cover"),
        (png(BLANK, 0, 8, size=(2**21, 8)), "claims .* more than"),
        (png(BLANK, 0, 8, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**22)))), "too large"),
        (png(BLANK, 0, 8, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**20 - 1))) * 65), "Too much memory"),
        (png(BLANK, 0, 8, chunk(b"teSt", b"") * 70_000), "more than 65536 chunks"),
        (scans(500_000), "more than 65536 segments"),
        (scans(3)[:2] + b"\xff\xfe\0\2" + bytes(70_000) + scans(3)[2:], "rubbish"),
        (tiff(GREY | {257: 9}, bytes(72)), "do not cover"),
        (tiff(GREY | {278: 7, 273: [0] * 1000}, bytes(64)), "do not cover"),
        (tiff(GREY | {273: [0] * 1_100_000}, bytes(64)), "numbers"),
        (tiff(GREY | {259: 8, 322: 40_000, 323: 40_000}, bytes(64)), "claims .* more than"),
        (tiff(GREY | {259: 8, 256: 9000, 257: 9000, 322: 1, 323: 1}, bytes(5000)), "tiles of 1x1"),
        (tiff(GREY, bytes(40)), "truncated"),
        (b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xff\xff\xff" * 2, "claims .* more than"),
        (b"RIFF....WAVEfmt ", "damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "not an image"),
        (b"8BPS\0\1", "not an image"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_hostile_files_are_refused_unread(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "a b.img").write_bytes(data)
    with pytest.raises(FoundryError, match=said) as caught:
        images.read(tmp_path / "a b.img")
    assert "a b.img" in str(caught.value) and len(str(caught.value).splitlines()) == 1
    assert user_image.size(tmp_path / "a b.img") in ((0, 0), (9, 9), (8, 8))


def test_many_scans_of_a_large_picture_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(scans(30))
    assert images.read(tmp_path / "a.jpg").shape == (1, 3, 64, 64)
    monkeypatch.setattr(untrusted, "LARGEST", 64 * 64)
    with pytest.raises(FoundryError, match="scans"):
        images.read(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp"])
def test_a_blank_photograph_is_no_bomb(tmp_path: Path, suffix: str) -> None:
    options: dict[str, Any] = {"webp": {"lossless": True, "method": 0}, "tif": {"compression": "tiff_lzw"}}
    Image.new("L", (4000, 3000)).save(tmp_path / f"a.{suffix}", **options.get(suffix, {"optimize": True}))
    assert decoding.decode(tmp_path / f"a.{suffix}").size == (4000, 3000)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path, tmp_path / "pipe.png"):
        with pytest.raises(FoundryError, match="not a file"):
            images.read(path)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(FoundryError, match="not found"):
        images.read(tmp_path / "a.png" / "b.png")


def test_reading_leaves_other_warnings_alone(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    images.read(tmp_path / "a.png")
    with pytest.raises(UserWarning, match="mine"):
        warnings.warn("mine", stacklevel=1)


def test_find_follows_links_and_ends(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for name in ("b/2.PNG", "b/c/3.jpg", "a-b/4.tif", "a/5.webp", "notes.txt", ".hidden.png", "._1.jpg", ".git/6.png"):
        (inside / name).parent.mkdir(parents=True, exist_ok=True)
        (inside / name).touch()
    for path in (outside / "7.png", inside / "__MACOSX" / "8.png"):
        path.parent.mkdir()
        path.touch()
    (inside / "0 link").symlink_to(inside / "b")  # the same folder again
    (inside / "b" / "up").symlink_to(inside)  # a cycle
    (inside / "far").symlink_to(outside)
    (inside / "one.png").symlink_to(outside / "7.png")
    (inside / "gone.png").symlink_to(outside / "8.png")
    (inside / "self.png").symlink_to(inside / "self.png")
    found = [path.relative_to(inside).as_posix() for path in decoding.find(inside)]
    wanted = ["a-b/4.tif", "a/5.webp", "b/2.PNG", "b/c/3.jpg", "far/7.png", "gone.png", "one.png", "self.png"]
    assert found == sorted(wanted) == wanted
    for name in ("gone.png", "self.png"):
        with pytest.raises(FoundryError, match=name):
            images.read(inside / name)


def test_find_names_a_folder_it_may_not_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(place: Path) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(FoundryError, match="cannot list .*Permission denied"):
        decoding.find(tmp_path)


def test_jpeg_is_pillows(tmp_path: Path) -> None:
    image = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    packed = images.jpeg(image, 60)
    assert packed.shape == image.shape and packed.dtype == torch.float64 and not packed.equal(image)
    pixels = images.to_uint8(image)[1].numpy()
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=60, subsampling="4:2:0")
    assert packed[1:].float().equal(images.read(tmp_path / "a.jpg"))
    flat = torch.full((1, 3, 16, 16), 0.5)
    assert float((images.jpeg(flat, 95) - flat).abs().max()) < 0.01
    assert images.jpeg(image, 90).sub(image).abs().mean() < images.jpeg(image, 5).sub(image).abs().mean()
    for quality in (0, 96):
        with pytest.raises(FoundryError, match=f"1 to 95, got {quality}"):
            images.jpeg(image, quality)

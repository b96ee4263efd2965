"""Small valid pictures of every format, mode and coding, and eleven kinds of damage to them.

`benchmarks.hostile` has them read, `benchmarks._server_hostile` sends them to a server.
"""

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

WIDTH, HEIGHT = 37, 29
NUMBERS = (
    0,
    1,
    2,
    3,
    8,
    16,
    255,
    256,
    4095,
    10_000,
    16_383,
    32_767,
    65_535,
    70_000,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
)
Damage = Callable[[bytearray, random.Random], bytearray]


def valid() -> list[tuple[str, bytearray]]:
    """Make the corpus: name and bytes of a small valid file of each format, mode and coding."""
    rng = np.random.default_rng(7)
    smooth = np.add.outer(np.arange(HEIGHT) * 3, np.arange(WIDTH) * 2)[..., None] + np.array([0, 40, 80, 120])
    pixels = (smooth + rng.integers(0, 30, smooth.shape)).astype(np.uint8)
    colour, alpha = Image.fromarray(pixels[..., :3].copy()), Image.fromarray(pixels)
    wide = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a photograph"
    made: list[tuple[str, bytearray]] = []

    def add(name: str, picture: Image.Image, **options: Any) -> None:
        packed = BytesIO()
        picture.save(packed, Image.registered_extensions()[Path(name).suffix], **options)
        made.append((name, bytearray(packed.getvalue())))

    modes = {mode: colour.convert(mode) for mode in ("1", "L", "LA", "P", "CMYK", "YCbCr", "LAB")}
    modes |= {"RGB": colour, "RGBA": alpha, "I;16": wide}
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        add(f"{mode.replace(';', '')}.png", modes[mode])
    add("exif.png", colour, exif=exif)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    add("profile.png", colour, icc_profile=profile, exif=exif, dpi=(300, 300))
    add("profile.jpg", colour, icc_profile=profile, exif=exif, dpi=(300, 300), comment=b"a photograph")
    add("profile.webp", colour, icc_profile=profile, exif=exif)
    add("profile.tif", colour, icc_profile=profile, exif=exif, dpi=(300, 300))
    add("clear.png", modes["P"], transparency=bytes(range(256)))
    add("moving.png", colour, save_all=True, append_images=[colour.rotate(180)], duration=40)
    made.extend(_pngs(pixels))
    for name, options in {"base": {}, "progressive": {"progressive": True}, "exif": {"exif": exif}}.items():
        add(f"{name}.jpg", colour, quality=80, **options)
    add("grey.jpg", modes["L"])
    add("cmyk.jpg", modes["CMYK"])
    add("full.jpg", colour, subsampling=0, optimize=True, restart_marker_blocks=2)
    add("two.mpo", colour, save_all=True, append_images=[colour])
    add("lossy.webp", colour, quality=70)
    add("lossless.webp", alpha, lossless=True)
    add("exif.webp", alpha, quality=70, exif=exif)
    add("moving.webp", colour, save_all=True, append_images=[colour.rotate(180)], duration=40)
    for coding in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        for mode in ("L", "P", "RGB", "RGBA", "CMYK", "I;16"):
            add(f"{coding}_{mode.replace(';', '')}.tif", modes[mode], compression=coding)
    for mode in ("1", "LA", "LAB", "YCbCr"):
        add(f"{mode}.tif", modes[mode])
    add("fax.tif", modes["1"], compression="group4")
    add("jpeg.tif", colour, compression="jpeg")
    add("tiled.tif", colour.resize((64, 48)), compression="tiff_lzw", tiffinfo={322: 16, 323: 16})
    add("turned.tif", colour, tiffinfo={274: 6})
    add("strips.tif", colour, compression="tiff_lzw", tiffinfo={278: 4})
    add("big.tif", colour, big_tiff=True)
    made.append(("wide.tif", _wide_tiff(pixels)))
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        add(f"{mode}.bmp", modes[mode])
    made.append(("runs.bmp", _runs_bmp()))
    return made


def _pngs(pixels: np.ndarray) -> Iterator[tuple[str, bytearray]]:
    """What Pillow cannot write: 16-bit colour, and Adam7's seven passes."""
    wide = pixels.astype(">u2") * 257
    for kind, channels in ((2, 3), (4, 2), (6, 4)):
        rows = b"".join(b"\0" + row.tobytes() for row in wide[..., :channels])
        yield f"wide{channels}.png", _png(struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, kind, 0, 0, 0), rows)
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    rows = b"".join(b"\0" + row.tobytes() for x, y, dx, dy in passes for row in pixels[y::dy, x::dx, :3])
    yield "interlaced.png", _png(struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 1), rows)


def _png(header: bytes, rows: bytes) -> bytearray:
    text = b"Comment\0\0" + zlib.compress(b"x" * 5000)
    parts = {b"IHDR": header, b"zTXt": text, b"IDAT": zlib.compress(rows), b"IEND": b""}
    return bytearray(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in parts.items()))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _wide_tiff(pixels: np.ndarray) -> bytearray:
    rows = (pixels[..., :3].astype(">u2") * 257).tobytes()
    entries = [(256, 3, 1, WIDTH << 16), (257, 3, 1, HEIGHT << 16), (258, 3, 3, 122), (259, 3, 1, 1 << 16)]
    entries += [(262, 3, 1, 2 << 16), (273, 4, 1, 128), (277, 3, 1, 3 << 16), (278, 3, 1, HEIGHT << 16)]
    entries += [(279, 4, 1, len(rows))]
    listed = b"".join(struct.pack(">HHLL", *entry) for entry in entries)
    head = b"MM\0*" + struct.pack(">LH", 8, len(entries)) + listed + bytes(4)
    return bytearray(head + struct.pack(">HHH", 16, 16, 16) + rows)


def _runs_bmp() -> bytearray:
    body = b"".join(bytes([20, row, 17, row + 1, 0, 0]) for row in range(HEIGHT)) + b"\0\1"
    head = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, 8, 1, len(body), 2835, 2835, 256, 0)
    palette = bytes(range(256)) * 4
    return bytearray(b"BM" + struct.pack("<IHHI", 54 + 1024 + len(body), 0, 0, 54 + 1024) + head + palette + body)


def flipped(data: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.choice((1, 2, 5, 20))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def flipped_early(data: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.choice((1, 2, 5))):
        data[rng.randrange(min(len(data), 200))] = rng.choice((0, 1, 127, 128, 254, 255, rng.randrange(256)))
    return data


def overwritten(data: bytearray, rng: random.Random) -> bytearray:
    start, length = rng.randrange(len(data)), rng.choice((2, 4, 16, 64, 300))
    data[start : start + length] = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    return data


def truncated(data: bytearray, rng: random.Random) -> bytearray:
    return data[: rng.choice((rng.randrange(len(data)), rng.randrange(min(len(data), 200)), len(data) - 1))]


def inserted(data: bytearray, rng: random.Random) -> bytearray:
    start = rng.randrange(len(data))
    data[start:start] = rng.randbytes(rng.choice((1, 2, 4, 100, 5000)))
    return data


def lying(data: bytearray, rng: random.Random) -> bytearray:
    """Claim another width or height wherever theirs is written; a WebP packs them, so there its header is garbled."""
    if data[:4] == b"RIFF":
        data[20:34] = rng.randbytes(14) if rng.random() < 0.3 else data[20:24] + rng.randbytes(6) + data[30:34]
        return data
    for value in (WIDTH, HEIGHT):
        for form in rng.sample(("<H", ">H", "<I", ">I"), 4):
            found = data.find(struct.pack(form, value), 8)
            if 0 <= found < 400:
                struct.pack_into(form, data, found, rng.choice(NUMBERS) & (2 ** (8 * struct.calcsize(form)) - 1))
                break
    return data


def relisted(data: bytearray, rng: random.Random) -> bytearray:
    """Lie in a list: a TIFF tag's number, type, count or value; a PNG or WebP chunk's or a JPEG segment's length."""
    if data[:2] in (b"II", b"MM"):
        order = "<" if data[:1] == b"I" else ">"
        start = struct.unpack_from(f"{order}L", data, 4)[0] + 2
        for _ in range(rng.choice((1, 1, 3))):
            at = min(start + 12 * rng.randrange(16), len(data) - 12)
            form, step = rng.choice((("H", 0), ("H", 2), ("L", 4), ("L", 8), ("H", 8)))
            wrong = rng.choice((*NUMBERS, rng.randrange(len(data)))) & (0xFFFF if form == "H" else 0xFFFFFFFF)
            struct.pack_into(order + form, data, at + step, wrong)
        return data
    forms = {b"\x89P": (">I", range(8, len(data) - 4)), b"RI": ("<I", range(4, len(data) - 4, 4))}
    form, places = forms.get(bytes(data[:2]), (">H", range(2, len(data) - 2)))
    struct.pack_into(
        form, data, rng.choice(places[:300]), rng.choice(NUMBERS) & (0xFFFF if form == ">H" else 2**32 - 1)
    )
    return data


def damaged(whole: bytes, other: bytes, rng: random.Random) -> bytes:
    """A picture, damaged in one of all ways; half of the damaged PNGs get right checksums again.

    Args:
        whole: a valid picture.
        other: another one, for what is spliced.
        rng: chooses.
    """
    damage = rng.choice(DAMAGES)
    bad = damage(bytearray(whole), rng) if damage else _spliced(bytearray(whole), bytearray(other), rng)
    return bytes(_resealed(bad) if rng.random() < 0.5 else bad)


def rechunked(data: bytearray, rng: random.Random) -> bytearray:
    """Double, drop, swap or retype a PNG's or WebP's chunks; in other files double or drop a stretch of bytes."""
    parts = _chunks(data)
    if len(parts) < 3:
        start = rng.randrange(len(data))
        part = data[start : start + rng.choice((4, 40, 400))]
        return data[:start] + part * rng.choice((0, 2, 50)) + data[start + len(part) :]
    first, second = rng.randrange(1, len(parts)), rng.randrange(1, len(parts))
    match rng.randrange(4):
        case 0:
            parts.insert(second, parts[first] * rng.choice((1, 2, 500)))
        case 1:
            del parts[first]
        case 2:
            parts[first], parts[second] = parts[second], parts[first]
        case _:
            at = 4 if data[:4] == b"\x89PNG" else 0
            parts[first][at : at + 4] = rng.choice(TYPES)
    return bytearray().join(parts)


def _chunks(data: bytearray) -> list[bytearray]:
    """A PNG's or WebP's head and chunks."""
    png, webp = data[:4] == b"\x89PNG", data[:4] == b"RIFF"
    if not (png or webp):
        return [data]
    at = 8 if png else 12
    parts = [data[:at]]
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big") if png else int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + length + 12 if png else at + 8 + length + length % 2
        parts.append(data[at:end])
        at = end
    return parts


def _spliced(data: bytearray, other: bytearray, rng: random.Random) -> bytearray:
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]


def _resealed(data: bytearray) -> bytearray:
    """Give a PNG's chunks right checksums again, so that damage passes that guard."""
    at = 8
    while data[:4] == b"\x89PNG" and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return data


TYPES = (b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"acTL", b"fdAT", b"IDAT", b"ICCP", b"EXIF", b"ANMF", b"VP8X")
DAMAGES: tuple[Damage | None, ...] = (
    *(flipped, flipped_early, overwritten, truncated, inserted, lying, lying, relisted, relisted, rechunked),
    None,  # two files spliced
)

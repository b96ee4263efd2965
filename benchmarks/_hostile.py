"""Does the image reader survive hostile files? Part of a larger benchmark, which calls `mutated`.

Small valid files of every format and mode are damaged in every way that comes to mind, and each is read in a process
that is watched. A file may be read, or refused by one FoundryError of one line that names it; nothing else may happen.
It is long because a corpus, ten kinds of damage and a watched process make one experiment.
"""

import json
import os
import random
import select
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from srfoundry.core.errors import FoundryError
from srfoundry.imaging import images

REPO = Path(__file__).resolve().parent.parent
PATIENCE = 20.0  # seconds for one file; more is a hang
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


def mutated(count: int, seed: int) -> dict[str, Any]:
    """Read `count` damaged files (the same ones for the same seed) and count what became of them.

    Returns:
        files, read, refused, tracebacks (anything but a FoundryError of one line that names the file, crashes too),
        hangs, unsound (valid files of the corpus that were refused), peak_rss_mb and base_rss_mb of the reading process
        (base: with its libraries, before the first file), worst_seconds, stderr_bytes, first_failures.
    """
    corpus = valid()
    tally: Counter[str] = Counter()
    failures: list[str] = []
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(Path(folder))
        for name, whole in corpus:
            tally["unsound"] += worker.read(f"valid_{name}", bytes(whole))["outcome"] != "read"
        for index in range(count):
            rng = random.Random(f"{seed} {index}")
            name, whole = corpus[index % len(corpus)]
            damage = rng.choice(DAMAGES)
            bad = damage(bytearray(whole), rng) if damage else _spliced(whole, rng.choice(corpus)[1], rng)
            bad = _resealed(bad) if rng.random() < 0.5 else bad
            found = worker.read(f"{index:06d}_{name}", bytes(bad))
            tally[found["outcome"]] += 1
            worst = max(worst, found["seconds"])
            if found["outcome"] in ("tracebacks", "hangs") and len(failures) < 10:
                failures.append(f"{index} {name} {getattr(damage, '__name__', 'spliced')}: {found['said']}")
        worker.close()
    return {
        "files": count,
        **{kind: tally[kind] for kind in ("read", "refused", "tracebacks", "hangs", "unsound")},
        "peak_rss_mb": round(worker.peak / 1024),
        "base_rss_mb": round(worker.base / 1024),
        "worst_seconds": round(worst, 2),
        "stderr_bytes": worker.leaked,
        "first_failures": failures,
    }


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


DAMAGES: tuple[Damage | None, ...] = (
    *(flipped, flipped_early, overwritten, truncated, inserted, lying, lying, relisted, relisted),
    None,  # two files spliced
)


class Worker:
    """A process that reads one file after another; replaced when it crashed or hung."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.errors = folder, folder / "stderr"
        self.peak = self.base = self.leaked = 0
        self.process: subprocess.Popen[bytes] | None = None

    def read(self, name: str, data: bytes) -> dict[str, Any]:
        """Have one file read; returns outcome, seconds and what was said."""
        path = self.folder / name
        path.write_bytes(data)
        process = self.process or self._start()
        began = time.perf_counter()
        assert process.stdin and process.stdout
        process.stdin.write(f"{path}\n".encode())
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
        line = process.stdout.readline() if ready else b""
        path.unlink()
        if line:
            found = json.loads(line)
            self.peak = max(self.peak, found["peak"])
            return found
        code = self._end()
        if ready:
            return {"outcome": "tracebacks", "seconds": time.perf_counter() - began, "said": f"exit status {code}"}
        return {"outcome": "hangs", "seconds": PATIENCE, "said": f"nothing for {PATIENCE} s"}

    def close(self) -> None:
        """Let the process go and note how much it wrote to stderr."""
        if self.process:
            self._end()
        self.leaked = self.errors.stat().st_size

    def _end(self) -> int:
        assert self.process is not None
        self.process.kill()
        with self.process as process:  # waits, and closes the pipes
            self.process = None
        return process.returncode

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "benchmarks._hostile", "--read"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with self.errors.open("ab") as errors:
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=errors, env=environment, bufsize=0, cwd=REPO
            )
        assert self.process.stdout
        self.base = max(self.base, json.loads(self.process.stdout.readline())["peak"])
        return self.process


def _serve() -> None:
    print(json.dumps({"peak": _peak()}), flush=True)
    for line in sys.stdin:
        path, began, said = Path(line.rstrip("\n")), time.perf_counter(), ""
        try:
            images.read(path)
            outcome = "read"
        except FoundryError as error:
            said = str(error)
            outcome = "refused" if path.name in said and len(said.splitlines()) == 1 else "tracebacks"
        except BaseException as error:
            outcome, said = "tracebacks", repr(error)
        found = {"outcome": outcome, "seconds": time.perf_counter() - began, "said": said[-300:], "peak": _peak()}
        print(json.dumps(found), flush=True)


def _peak() -> int:
    """Most KiB this process ever held. Not getrusage: its peak starts at that of the process which started this one."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])


if __name__ == "__main__":
    _serve() if "--read" in sys.argv else print(json.dumps(mutated(int(sys.argv[1]), int(sys.argv[2])), indent=1))

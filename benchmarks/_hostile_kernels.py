"""Valid kernels and archives of photographs, and how each is made hostile: headers lie, members leave the folder."""

import io
import random
import stat
import struct
import tarfile
import warnings
import zipfile
from functools import partial
from typing import Any

import numpy as np

from benchmarks import _hostile
from benchmarks._hostile_seeds import Seed, garbled, repacked


def kernels() -> list[Seed]:
    """Kernels of all kinds, a bank of them, and archives of photographs with traps."""
    from scipy.io import savemat

    blur = np.outer(*[np.exp(-(np.linspace(-2, 2, 9) ** 2))] * 2).astype(np.float32)
    blur /= blur.sum()
    made: list[Seed] = []

    def npy(array: Any) -> bytes:
        packed = io.BytesIO()
        np.save(packed, array)
        return packed.getvalue()

    def npz(**arrays: Any) -> bytes:
        packed = io.BytesIO()
        np.savez_compressed(packed, **arrays)
        return packed.getvalue()

    def mat(form: str, **arrays: Any) -> bytes:
        packed = io.BytesIO()
        savemat(packed, arrays, format=form, do_compression=form == "5")
        return packed.getvalue()

    picture = io.BytesIO()
    from PIL import Image

    Image.fromarray((255 * blur / blur.max()).astype(np.uint8)).save(picture, "PNG")
    cells = np.empty((1, 3), object)
    cells[:] = [[blur, blur.astype(np.float64), blur[:7, :7]]]
    made += [
        Seed("kernel.npy", "kernel", npy(blur), bent_array),
        Seed("double.npy", "kernel", npy(blur.astype(np.float64)), bent_array),
        Seed("kernel.npz", "kernel", npz(kernel=blur, other=blur), repacked),
        Seed("kernel.png", "kernel", picture.getvalue(), lambda data, rng: _hostile.damaged(data, data, rng)),
        Seed("kernel.mat", "kernel", mat("5", kernel=blur, kernels=cells), garbled),
        Seed("old.mat", "kernel", mat("4", kernel=blur.astype(np.float64)), garbled),
        Seed(
            "huge.npy",
            "kernel",
            b"\x93NUMPY\x01\0v\0"
            + str({"descr": "<f4", "fortran_order": False, "shape": (2**18, 2**18)}).ljust(117).encode()
            + b"\n",
            bent_array,
            sound=False,
        ),
        Seed("bomb.npz", "kernel", npz(kernel=np.zeros((9000, 9000), np.float64)), repacked, sound=False),
    ]
    return [*made, *archives()]


def bent_array(data: bytes, rng: random.Random) -> bytes:
    """A .npy file whose header claims another type, order or shape."""
    if rng.random() < 0.4 or data[:6] != b"\x93NUMPY":
        return garbled(data, rng)
    kinds = (
        "<f4",
        "<f8",
        "<c16",
        "|b1",
        "<i8",
        "<u2",
        "|O",
        "<U9",
        "|V12",
        "<M8[s]",
        ">f2",
        "|S100000000",
        "<f16",
        [("a", "<f4")],
    )
    shape = tuple(
        rng.choice((0, 1, 2, 3, 9, 81, -1, 2**20, 2**31, 2**40, 2**63, True))
        for _ in range(rng.choice((0, 1, 2, 2, 3, 33)))
    )
    header = {"descr": rng.choice(kinds), "fortran_order": rng.choice((True, False, 1)), "shape": shape}
    said = rng.choice(
        (str(header), str(header), str(header), "{}", "(" * 5000, "__import__('os')", "{'descr': " + "[" * 90)
    )
    packed = said.encode().ljust(117) + b"\n"
    return (
        data[:6]
        + rng.choice((b"\1\0", b"\2\0", b"\3\0", b"\7\0"))
        + struct.pack("<H", len(packed) & 0xFFFF)
        + packed
        + data[128:]
    )


def archives() -> list[Seed]:
    """Archives of two photographs, and ones that are traps as they are."""
    corpus = dict(_hostile.valid())
    photographs = {"a/one.png": bytes(corpus["RGB.png"]), "a/b/two.jpg": bytes(corpus["base.jpg"])}
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in photographs.items():
            file.writestr(name, data)
    made = [Seed("good.zip", "archive", zipped.getvalue(), partial(_rearchived, photographs))]
    forms: dict[str, Any] = {form: f"w:{form}" for form in ("", "gz", "xz", "bz2")}
    for form, mode in forms.items():
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode=mode) as file:
            for name, data in photographs.items():
                file.addfile(_member(name, len(data)), io.BytesIO(data))
        ending = f".tar.{form}" if form else ".tar"
        made.append(Seed(f"good{ending}", "archive", packed.getvalue(), partial(_rearchived, photographs)))
    return made


def _member(name: str, size: int) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.size = size
    return found


NAMES = (
    *(
        "../out.png",
        "/tmp/out.png",
        "a/../../out.png",
        "..\\out.png",
        "C:\\out.png",
        "a//b.png",
        "./a.png",
        "a/one.png",
    ),
    *(
        "A/ONE.PNG",
        "a\x00b.png",
        "a\nb.png",
        "x" * 300 + ".png",
        "/".join("d" * 900) + ".png",
        "",
        ".",
        "..",
        "con.png",
    ),
    *("a/one.png/inside.png", "a.png/", "\u0041\u030a.png", "\u00c5.png", "-rf.png", ".png", "\udcff.png", "~/a.png"),
)


def _rearchived(photographs: dict[str, bytes], data: bytes, rng: random.Random) -> bytes:
    """The same photographs under other names, twice, as links or devices, or in a file that is damaged."""
    if rng.random() < 0.35:
        return garbled(data, rng)
    packed = io.BytesIO()
    members = [(rng.choice((name, *NAMES)), body) for name, body in photographs.items()] * rng.choice((1, 1, 2))
    if data[:2] == b"PK":
        with warnings.catch_warnings(), zipfile.ZipFile(packed, "w", rng.choice((0, 8, 12, 14))) as file:
            warnings.simplefilter("ignore")  # names twice
            for name, body in members:
                one = zipfile.ZipInfo("x")
                one.filename = name.encode("utf-8", "replace").decode()
                one.external_attr = rng.choice((0, 0, stat.S_IFLNK, stat.S_IFREG, stat.S_IFDIR, 0x10)) << 16
                file.writestr(one, rng.choice((body, body, bytes(rng.choice((0, 10**6, 10**8))))))
        return garbled(packed.getvalue(), rng) if rng.random() < 0.3 else packed.getvalue()
    with tarfile.open(fileobj=packed, mode="w:gz", format=rng.choice((0, 1, 2))) as file:
        for name, body in members:
            one = _member(name, len(body))
            one.type = rng.choice((tarfile.REGTYPE, tarfile.REGTYPE, tarfile.GNUTYPE_SPARSE, b"1", b"2", b"3", b"6"))
            one.linkname = rng.choice(NAMES)
            try:
                file.addfile(one, io.BytesIO(body))
            except (ValueError, UnicodeError, OverflowError):
                continue
    return packed.getvalue()

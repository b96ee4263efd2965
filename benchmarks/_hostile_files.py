"""Valid params, graphs, models, kernels and archives, and how each is made hostile.

Damage knows the format: a YAML's values become those that no key takes, a safetensors header and an ONNX graph lie
about shapes, an archive's members leave its folder. One half of all is damaged byte by byte besides or instead.
"""

import io
import json
import random
import stat
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _hostile

REPO = Path(__file__).resolve().parent.parent
Change = Callable[[bytes, random.Random], bytes]
NUMBERS = (0, -1, 1, 2, 3, 7, 2**15, 2**16, 2**20, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, -(2**63))
WORDS = (
    *("null", "true", "~", "''", ".nan", ".inf", "-.inf", "1e999", "-1", "0", "1e-320", "9" * 400, "0x10", "1_000"),
    *("[]", "{}", "[[[]]]", "{a: {b: {}}}", "2020-01-01", "!!binary aGk=", "!!set {a}", "!!python/name:os.system"),
    *(
        "*loop",
        "&loop [*loop]",
        "&loop {a: *loop}",
        "'\\x00'",
        "'../../x'",
        "'\u202e\U0001f4a3'",
        "'" + "x" * 5000 + "'",
    ),
    *("/etc/passwd", "'${shared.seed}'", "|\n  text", "!!float x", "? [a]\n: b", "!include x", "[1, .nan, a, {}]"),
    *("12:30:45", "0o17", "+.5e+3", "1.", "'\ud7ff\ufeff'", "- a\n - b", "<<", "@", "%", "\t1", "18446744073709551616"),
)


@dataclass(frozen=True)
class Seed:
    """A valid file, what reads it, and how it is damaged.

    Attributes:
        name: with its ending.
        reader: of `_hostile_reader`.
        data: its bytes.
        change: makes it hostile, knowing its format.
        sound: whether the file as it is must be read; hand-made traps are not.
    """

    name: str
    reader: str
    data: bytes
    change: Change
    sound: bool = True


def garbled(data: bytes, rng: random.Random) -> bytes:
    """Damage that knows no format: bits, numbers, stretches, another length."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not made:
            break
        at = rng.randrange(len(made)) if rng.random() < 0.6 else rng.randrange(min(len(made), 300))
        match rng.randrange(6):
            case 0:
                made[at] ^= 1 << rng.randrange(8)
            case 1:
                made[at] = rng.choice((0, 1, 127, 128, 254, 255))
            case 2:
                del made[at:]
            case 3:
                size = rng.choice((2, 4, 8))
                made[at : at + size] = (rng.choice(NUMBERS) & (256**size - 1)).to_bytes(
                    size, rng.choice(("big", "little"))
                )
            case 4:
                made[at:at] = made[at : at + rng.choice((4, 40, 400))] * rng.choice((1, 2, 20))
            case _:
                del made[at : at + rng.choice((1, 4, 40))]
    return bytes(made)


def images() -> list[Seed]:
    """Pictures of every kind; each twentieth goes through the whole command."""
    corpus = [(name, bytes(data)) for name, data in _hostile.valid()]

    def change(data: bytes, rng: random.Random) -> bytes:
        return _hostile.damaged(data, rng.choice(corpus)[1], rng)

    whole = [Seed(name, "picture", data, change) for name, data in corpus]
    return [*whole, *(Seed(one.name, "picture_by_program", one.data, change) for one in whole[:: len(whole) // 4])]


def values() -> list[Seed]:
    """params.yaml of the project, four times for each dvc.yaml."""
    plain = "".join(f"{line.partition(' #')[0].rstrip()}\n" for line in (REPO / "params.yaml").read_text().splitlines())
    short = "\n".join(line for line in plain.splitlines() if line.strip() and line.strip()[0] != "#") + "\n"
    params = Seed("params.yaml", "values", short.encode(), rewritten)
    graph = Seed("dvc.yaml", "graph", (REPO / "dvc.yaml").read_bytes(), rewritten)
    return [*([params] * 4), graph]


def rewritten(data: bytes, rng: random.Random) -> bytes:
    """YAML with values of other kinds, keys twice or misspelt, lines moved, anchors that multiply."""
    lines = data.decode().splitlines()
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(lines))
        key, colon, _ = lines[at].partition(":")
        match rng.randrange(9):
            case 0 | 1 | 2 | 3 if colon:
                lines[at] = f"{key}: {rng.choice(WORDS)}"
            case 4:
                lines.insert(at, lines[at])
            case 5:
                strange = rng.choice(("x", " ", ".", chr(0x301), chr(7), ": {", " #"))
                lines[at] = f"{key}{strange}{colon} 1"
            case 6:
                lines[at] = " " * rng.randrange(12) + lines[at].strip()
            case 7:
                rows = [
                    f"bomb{n}: &bomb{n} [{', '.join([f'*bomb{n - 1}' if n else 'x'] * 9)}]"
                    for n in range(rng.choice((3, 12)))
                ]
                lines[0:0] = rows
                lines[at] = f"{key}: *bomb{len(rows) - 1}"
            case _:
                lines[at] = f"{key}: {rng.choice('[{')}" * rng.choice((1, 30, 3000))
    made = "\n".join(lines).encode("utf-8", "surrogatepass")
    return garbled(made, rng) if rng.random() < 0.2 else made


def models() -> list[Seed]:
    """Checkpoints, exported models, weights of others, and training states."""
    blobs = _checkpoints()
    return [
        Seed("edsr.safetensors", "checkpoint", blobs["edsr"], reheaded),
        Seed("mzsr.safetensors", "checkpoint", blobs["mzsr"], reheaded),
        Seed("small.onnx", "onnx_model", small_model(), regraphed),
        Seed("network.onnx", "onnx_model", small_model(deep=True), regraphed),
        Seed("grouped.safetensors", "checkpoint", blobs["drn"], reheaded),
        Seed("theirs.safetensors", "authors_weights", blobs["edsr"], reheaded, sound=False),
        Seed("small2.onnx", "onnx_model", small_model(), regraphed),
        Seed("theirs.pt", "authors_weights", _pickled(), repacked, sound=False),
        Seed("network2.onnx", "onnx_model", small_model(deep=True), regraphed),
        Seed("training.pt", "training_state", _training_state(), repacked),
    ]


def _checkpoints() -> dict[str, bytes]:
    import tempfile

    from srfoundry.networks.zoo import architectures, cards

    archs: dict[str, dict[str, Any]] = {
        "edsr": {"name": "edsr", "scale": 2, "blocks": 1, "width": 4},
        "mzsr": {"name": "mzsr", "width": 4, "depth": 3},
        "drn": {"name": "drn", "scale": 2, "blocks": 1, "width": 4},
    }
    blobs: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, arch in archs.items():
            path = Path(folder) / name
            cards.save(path, architectures.build(arch), arch=arch, scale=2, made_by="prune", params_hash="0")
            blobs[name] = path.read_bytes()
    return blobs


def _pickled() -> bytes:
    import torch

    packed = io.BytesIO()
    torch.save({"params": {"body.0.weight": torch.zeros(4, 3, 3, 3), "body.0.bias": torch.zeros(4)}}, packed)
    return packed.getvalue()


def _training_state() -> bytes:
    import torch

    net = torch.nn.Linear(3, 2)
    state = {"net": net.state_dict(), "optimiser": torch.optim.Adam(net.parameters()).state_dict()}
    packed = io.BytesIO()
    torch.save({"key": "key", "step": 7, "history": [{"loss": 1.0}], "state": state}, packed)
    return packed.getvalue()


def small_model(*, deep: bool = False) -> bytes:
    """An exported model without training: each pixel repeated, or convolutions before that.

    Args:
        deep: three convolutions with a skip, ReLU and clipping, as networks have them.
    """
    import dataclasses

    from onnx import TensorProto, helper, numpy_helper

    from srfoundry.runtime.session import OnnxCard

    rng = np.random.default_rng(3)
    last = np.zeros((12, 3, 1, 1), np.float32)
    last[np.arange(12), np.arange(12) // 4] = 1
    nodes = [helper.make_node("Conv", ["low", "last"], ["many"])]
    kept = [numpy_helper.from_array(last, "last")]
    if deep:
        first, second = (rng.normal(0, 0.1, (n, m, 3, 3)).astype(np.float32) for n, m in ((8, 3), (3, 8)))
        kept += [numpy_helper.from_array(first, "first"), numpy_helper.from_array(second, "second")]
        nodes = [
            helper.make_node("Conv", ["low", "first"], ["a"], pads=[1] * 4),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("Conv", ["b", "second"], ["c"], pads=[1] * 4),
            helper.make_node("Add", ["c", "low"], ["d"]),
            helper.make_node("Conv", ["d", "last"], ["many"]),
        ]
    kept += [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in (("zero", 0), ("one", 1))]
    nodes += [
        helper.make_node("DepthToSpace", ["many"], ["large"], blocksize=2, mode="CRD"),
        helper.make_node("Clip", ["large", "zero", "one"], ["restored"]),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", 3, f"{name} h", f"{name} w"])
        for name in ("low", "restored")
    ]
    graph = helper.make_graph(nodes, "small", values[:1], values[1:], kept)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    card = OnnxCard("small", {"name": "small"}, 2, 3, [0.0, 1.0], 1, 64, 8, 0, 13, {}, "test", "p", "d")
    helper.set_model_props(made, {key: json.dumps(value) for key, value in dataclasses.asdict(card).items()})
    return made.SerializeToString()


def _strange(rng: random.Random) -> Any:
    """A JSON value that no field expects."""
    return rng.choice(
        (None, True, "", "x" * 3000, "\ud800", [], {}, [[]], 0, -1, 0.5, float("nan"), float("inf"), 1e308, *NUMBERS)
    )


def _bent(whole: Any, rng: random.Random) -> Any:
    """The same JSON with one value, somewhere, replaced, dropped or nested."""
    if isinstance(whole, dict) and whole and rng.random() < 0.85:
        key = rng.choice(sorted(whole, key=str))
        if rng.random() < 0.1:
            return {name: value for name, value in whole.items() if name != key}
        return {**whole, key: _bent(whole[key], rng)}
    if isinstance(whole, list) and whole and rng.random() < 0.7:
        at = rng.randrange(len(whole))
        return [*whole[:at], _bent(whole[at], rng), *whole[at + 1 :]]
    if isinstance(whole, str) and whole[:1] == "{" and rng.random() < 0.9:
        return json.dumps(_bent(json.loads(whole), rng))
    if rng.random() < 0.02:
        return json.loads("[" * 900 + "]" * 900)
    if rng.random() < 0.2 and not isinstance(whole, (dict, list)):
        return {str(whole): whole}
    return _strange(rng)


def reheaded(data: bytes, rng: random.Random) -> bytes:
    """A .safetensors file whose header lies: shapes, types, offsets, names, the card, its own length."""
    if rng.random() < 0.25:
        return garbled(data, rng)
    length = int.from_bytes(data[:8], "little")
    try:
        header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
        for _ in range(rng.choice((1, 1, 2, 4))):
            header = _bent(header, rng)
        packed = json.dumps(header).encode()
    except (ValueError, RecursionError):  # it was damaged before
        return garbled(data, rng)
    if rng.random() < 0.1:
        packed = rng.choice(
            (packed[:-1], b"[" * 100_000, packed + b" " * 10**6, b"{" + packed, packed.replace(b"F32", b"F64"))
        )
    claimed = len(packed) if rng.random() < 0.9 else rng.choice(NUMBERS) & (2**64 - 1)
    return claimed.to_bytes(8, "little") + packed + body


def regraphed(data: bytes, rng: random.Random) -> bytes:
    """An ONNX graph that lies: sizes, attributes, operators, loops, weights elsewhere, a bent card."""
    import onnx
    from google.protobuf.message import DecodeError

    if rng.random() < 0.2:
        return garbled(data, rng)
    try:
        model = onnx.load_model_from_string(data)
        for _ in range(rng.choice((1, 1, 2, 4))):
            rng.choice(_GRAPH_CHANGES)(model, rng)
        return model.SerializeToString()
    except (DecodeError, ValueError, IndexError, TypeError, UnicodeError):
        return garbled(data, rng)


def _bend_card(model: Any, rng: random.Random) -> None:
    entry = rng.choice(model.metadata_props)
    try:
        value = json.dumps(_bent(json.loads(entry.value), rng))
    except (ValueError, RecursionError):
        value = "{"
    entry.value = rng.choice((value, value, value, "", "{", "[" * 100_000, "1e999", "9" * 5000))


def _bend_weights(model: Any, rng: random.Random) -> None:
    kept = rng.choice(model.graph.initializer)
    match rng.randrange(4):
        case 0:
            kept.dims[:] = [rng.choice(NUMBERS) for _ in range(rng.choice((0, 1, 4, 9)))]
        case 1:
            kept.data_type = rng.randrange(30)
        case 2:
            kept.raw_data = rng.choice(
                (
                    b"",
                    kept.raw_data * 2,
                    np.float32(rng.choice((np.nan, np.inf, 1e38))).tobytes() * (len(kept.raw_data) // 4),
                )
            )
        case _:
            import onnx

            kept.ClearField("raw_data")
            kept.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (
                ("location", rng.choice(("/etc/passwd", "../../../../etc/passwd", "weights.bin", "/dev/zero", ""))),
                ("offset", str(rng.choice(NUMBERS))),
                ("length", str(rng.choice(NUMBERS))),
            ):
                kept.external_data.add(key=key, value=value)


def _bend_node(model: Any, rng: random.Random) -> None:
    from onnx import helper

    nodes = model.graph.node
    node = rng.choice(nodes)
    match rng.randrange(7):
        case 0:
            node.op_type = rng.choice(
                ("Loop", "If", "Tile", "Expand", "Pad", "Identity", "Nothing", "MatMul", "Resize")
            )
        case 1:
            node.input[rng.randrange(len(node.input))] = rng.choice(
                [one for each in nodes for one in (*each.output, "", "no")]
            )
        case 2 if node.attribute:
            attribute = rng.choice(node.attribute)
            attribute.i = rng.choice(NUMBERS[:-1])
            attribute.ints[:] = [rng.choice(NUMBERS[:-1]) for _ in attribute.ints]
        case 3:
            node.domain = rng.choice(("com.microsoft", "ai.onnx.ml", "x" * 1000))
        case 4:
            nodes.remove(node)
        case 5:
            kept = helper.make_tensor(
                "sizes", 7, [4], [1, 1, rng.choice((1, 30, 10_000, 2**31)), rng.choice((1, 30_000, 2**40))]
            )
            model.graph.initializer.append(kept)
            last = nodes[-1]
            nodes.insert(len(nodes) - 1, helper.make_node("Tile", [last.input[0], "sizes"], ["tiled"]))
            last.input[0] = "tiled"
        case _:
            nodes.add().CopyFrom(node)


def _bend_interface(model: Any, rng: random.Random) -> None:
    graph = model.graph
    value = rng.choice((*graph.input, *graph.output))
    match rng.randrange(4):
        case 0:
            value.type.tensor_type.elem_type = rng.randrange(25)
        case 1:
            rng.choice(value.type.tensor_type.shape.dim).dim_value = rng.choice(NUMBERS)
        case 2:
            value.name = rng.choice(("", "x", "restored", "low"))
        case _:
            model.ir_version, model.opset_import[0].version = rng.choice(NUMBERS[:-1]), rng.choice(NUMBERS[:-1])


_GRAPH_CHANGES: Sequence[Callable[[Any, random.Random], None]] = (
    *(_bend_card, _bend_card, _bend_weights, _bend_node, _bend_node, _bend_interface),
)


def repacked(data: bytes, rng: random.Random) -> bytes:
    """A zip (.pt, .npz, an archive) one of whose members is damaged and stored again with a right checksum."""
    if rng.random() < 0.4:
        return garbled(data, rng)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            members = [(one, file.read(one)) for one in file.infolist()]
    except Exception:  # it was damaged before
        return garbled(data, rng)
    packed = io.BytesIO()
    chosen = rng.randrange(len(members)) if members else 0
    with zipfile.ZipFile(packed, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as file:
        for number, (member, body) in enumerate(members):
            if number == chosen and rng.random() < 0.1:
                continue
            file.writestr(member.filename, garbled(body, rng) if number == chosen else body)
    return packed.getvalue()


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


KINDS: dict[str, Callable[[], list[Seed]]] = {"images": images, "params": values, "models": models, "kernels": kernels}

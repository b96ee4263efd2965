"""Valid checkpoints, exported models and training states, and how each is made hostile: headers and graphs lie."""

import io
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._hostile_seeds import NUMBERS, Seed, garbled, repacked


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

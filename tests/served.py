"""Models without training for tests of the server: bicubic enlargement as an ONNX graph, told apart by a brightness."""

import dataclasses
import json
from functools import cache

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from srfoundry.runtime.session import OnnxCard


@cache
def model(brighter: float = 0.0, *, scale: int = 2, tile: int = 64) -> bytes:
    """The .onnx file of a model that enlarges bicubically and adds `brighter` to each value.

    Args:
        brighter: other values are other versions; from 0.2 on, or not a number, a server refuses it.
        scale: of the enlargement.
        tile: that its card suggests; the overlap is 8.
    """
    constants = {"scales": [1, 1, scale, scale], "more": brighter, "least": 0.0, "most": 1.0}
    nodes = [
        helper.make_node("Resize", ["low", "", "scales"], ["large"], mode="cubic", cubic_coeff_a=-0.5),
        helper.make_node("Add", ["large", "more"], ["brighter"]),
        helper.make_node("Clip", ["brighter", "least", "most"], ["restored"]),
    ]
    kept = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", 3, f"{name} h", f"{name} w"])
        for name in ("low", "restored")
    ]
    graph = helper.make_graph(nodes, "bicubic", values[:1], values[1:], kept)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    metrics = {"held_out.bicubic": {"psnr_y": 31.0, "gain_db": 0.0}}
    card = OnnxCard("bicubic", {"name": "bicubic"}, scale, 3, [0.0, 1.0], 1, tile, 8, 0, 13, metrics, "test", "p", "d")
    helper.set_model_props(made, {key: json.dumps(value) for key, value in dataclasses.asdict(card).items()})
    return made.SerializeToString()

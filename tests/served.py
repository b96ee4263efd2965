"""A whole server for tests, its photographs, and models without training: bicubic enlargement as an ONNX graph."""

import dataclasses
import io
import json
from functools import cache
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from srfoundry.runtime.session import BICUBIC, OnnxCard
from srfoundry.serving.app import application
from srfoundry.serving.service import Service
from srfoundry.serving.settings import Serving

HERE = "http://127.0.0.1"


@cache
def model(
    brighter: float = 0.0, *, scale: int = 2, tile: int = 64, degradation: str = BICUBIC, gain: float = 0.0
) -> bytes:
    """The .onnx file of a model that enlarges bicubically and adds `brighter` to each value.

    Args:
        brighter: other values are other versions; from 0.2 on, or not a number, a server refuses it.
        scale: of the enlargement.
        tile: that its card suggests; the overlap is 8.
        degradation: that its card says it was trained for.
        gain: dB over bicubic that its card says.
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
    metrics = {"held_out.bicubic": {"psnr_y": 31.0, "gain_db": gain}}
    card = OnnxCard("bicubic", {"name": "bicubic"}, scale, 3, [0.0, 1.0], 1, tile, 8, 0, 13, metrics, "test", "p", "d")
    card = dataclasses.replace(card, trained_for={"degradation": degradation})
    helper.set_model_props(made, {key: json.dumps(value) for key, value in dataclasses.asdict(card).items()})
    return made.SerializeToString()


class serving:
    """A client of a whole server, as a context."""

    def __init__(self, settings: Serving) -> None:
        self.service = Service(settings)

    def __enter__(self) -> TestClient:
        self.service.__enter__()
        self.client = TestClient(application(self.service), base_url=HERE)
        return self.client.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.client.__exit__(None, None, None)
        self.service.__exit__(None, None, None)


def photograph(height: int = 150, width: int = 130, mode: str = "RGB", suffix: str = "PNG", **more: Any) -> bytes:
    """A picture of a few tiles, as a file."""
    down, across = np.mgrid[0:height, 0:width]
    bands = [across * 255 // width, down * 255 // height, (down + across) % 256, 40 + across * 200 // width]
    picture = Image.fromarray(np.stack(bands, -1).astype(np.uint8)).convert(mode)
    packed = io.BytesIO()
    picture.save(packed, suffix, **more)
    return packed.getvalue()

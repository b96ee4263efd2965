"""What chaiNNer and vs-mlrt want of an .onnx file, checked: both run ONNX Runtime 1.17 or so.

chaiNNer reads the scale off the graph's shapes: it names an input size, lets `onnx` infer the output's, and divides.
It wants one image in and one out, channels second and at most four of them, float32 or float16. vs-mlrt sets batch,
height and width in the file itself before it loads it, wants float32, a batch of one and 1 or 3 output channels, and
reads the output's size off the loaded graph.
"""

from pathlib import Path
from typing import Any

import numpy as np

from srfoundry.core.errors import FoundryError
from srfoundry.deployment.foreign.conversion import (
    SIZES,
    Converted,
    demand,
    image_alone,
    open_session,
    tolerance,
)
from srfoundry.runtime.session import Session

NEWEST_OPSET, NEWEST_IR = 20, 9  # that ONNX Runtime 1.17 reads
PROBES = (16, 64, 256, 512)  # sizes a side that chaiNNer tries, one after another
TOLERANCE = 1e-5


def convert(model: Path) -> Converted:
    """The file, without what it says beside the image, if it keeps the rules and its numbers with its size set in it.

    Raises:
        FoundryError: a rule is broken.
    """
    session = open_session(model)
    blob = image_alone(model.read_bytes())
    broken = check(blob, session.scale)
    if broken:
        raise FoundryError(
            f"chaiNNer and vs-mlrt would not take {model}: {'; '.join(broken)}; export it again with export.opset 11"
        )
    worst = _with_fixed_sizes(blob, session)
    demand(worst, tolerance(session, TOLERANCE), "the graph with its sizes set")
    name = f"{model.stem}-x{session.scale}.onnx"
    return Converted({name: blob}, worst, "with batch and sizes set in the file, as vs-mlrt does it")


def check(blob: bytes, scale: int) -> list[str]:
    """The rules that a file breaks, in words; none if both programs take it.

    Args:
        blob: the .onnx file.
        scale: of its enlargement, which chaiNNer should read off it.
    """
    import onnx

    model = onnx.load_model_from_string(blob)
    graph, broken = model.graph, []
    opset = max(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    if opset > NEWEST_OPSET or model.ir_version > NEWEST_IR:
        broken.append(f"operator set {opset}, IR {model.ir_version}, at most {NEWEST_OPSET} and {NEWEST_IR} are read")
    if {each.domain for each in model.opset_import} - {"", "ai.onnx"}:
        broken.append("operators that are not ONNX's own")
    if len(graph.input) != 1 or len(graph.output) != 1:
        return [*broken, "not one image in and one out"]
    for what, value in (("input", graph.input[0]), ("output", graph.output[0])):
        tensor = value.type.tensor_type
        shape = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
        if tensor.elem_type != onnx.TensorProto.FLOAT:
            broken.append(f"{what} is not float32")
        if len(shape) != 4 or shape[1] not in (1, 3):
            broken.append(f"{what} {shape} is not (batch, 1 or 3, height, width)")
    if not broken and (read := _scale(model)) != scale:
        broken.append(f"its shapes say x{read}, it is x{scale}")
    return broken


def _scale(model: Any) -> int | None:
    """The scale that chaiNNer reads off the shapes."""
    for side in PROBES:
        inferred = _fix(model, side, side, keep=True)
        rows, columns = (dim.dim_value for dim in inferred.graph.output[0].type.tensor_type.shape.dim[2:])
        if rows and columns:
            return rows // side if rows == columns and rows % side == 0 else None
    return None


def _fix(model: Any, height: int, width: int, *, keep: bool) -> Any:
    """A copy with a batch of one and sizes in its input, and the shapes that follow; with or without those it has."""
    import onnx

    fixed = type(model)()
    fixed.CopyFrom(model)
    for dim, value in zip(fixed.graph.input[0].type.tensor_type.shape.dim, (1, None, height, width), strict=True):
        if value is not None:
            dim.dim_value = value
    if not keep:
        fixed.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
        fixed.graph.ClearField("value_info")
    return onnx.shape_inference.infer_shapes(fixed, strict_mode=keep)


def _with_fixed_sizes(blob: bytes, session: Session) -> float:
    """The largest difference of the file with its sizes set, which must say its output's size."""
    import onnx

    model, multiple, found = onnx.load_model_from_string(blob), session.card.multiple_of, list[float]()
    for height, width in SIZES:
        height, width = height + -height % multiple, width + -width % multiple
        fixed = Session(_fix(model, height, width, keep=False).SerializeToString(), threads=1, device="cpu")
        low = np.random.default_rng(width).random((1, session.card.channels, height, width), np.float32)
        found.append(float(np.abs(fixed.run(low) - session.run(low)).max()))
    return float(np.max(found))  # NaN where one is, as Python's max is not

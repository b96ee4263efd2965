"""An exported graph made plain: the oldest operator set and IR that it needs, so that old and small runtimes read it.

The exporter writes for today's ONNX Runtime. Most programs that people run models in are older, and some (OpenCV's DNN)
know few forms of an operator. Nothing here changes a number; the comparison with PyTorch comes after it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from srfoundry.core.errors import FoundryError

NEWEST = 22  # operator set that is tried at most
MEAN_AXES = ([2, 3], [-2, -1])


def plain(model: Any) -> None:
    """Write two operations in the form that is older and read everywhere, with the same numbers; in place.

    A mean over rows and columns becomes global average pooling. A 1x1 convolution by the identity, which is what the
    shift by the mean colour is in the network, becomes an addition; OpenCV's DNN, which loads a graph of free height
    and width as if both were zero, then takes them as one, and its sizes agree at the end of a skip.
    """
    graph = model.graph
    constants = {item.name: item for item in graph.initializer}
    shifts = {node.output[0] for node in graph.node if node.op_type == "Conv" and _is_shift(node, constants)}
    elsewhere = {name for node in graph.node if node.output[0] not in shifts for name in node.input}
    for node in graph.node:
        if node.op_type == "ReduceMean" and _keeps_dimensions(node) and _axes(node, constants) in MEAN_AXES:
            _become(node, "GlobalAveragePool", node.input[:1])
        elif node.output[0] in shifts and node.input[2] not in elsewhere:
            shift = constants[node.input[2]]
            shift.dims[:] = [1, len(_array(shift).ravel()), 1, 1]  # several may read it
            _become(node, "Add", [node.input[0], node.input[2]])
    _drop_unused(graph)


def lower(model: Any, oldest: int) -> int:
    """Let the model say the oldest operator set, from `oldest` on, that knows all its operators, and the oldest IR.

    Operators whose meaning changed in between keep their numbers only where the forms agree; `export.write` compares.

    Args:
        model: an onnx.ModelProto, in place.
        oldest: operator set to begin with.

    Returns:
        The operator set.

    Raises:
        FoundryError: none that is known here will do.
    """
    import onnx
    from onnx import helper

    reason = ""
    for opset in range(oldest, NEWEST + 1):
        imports = [helper.make_opsetid("", opset)]
        del model.opset_import[:]
        model.opset_import.extend(imports)
        model.ir_version = helper.find_min_ir_version_for(imports)
        try:
            _check_known(model, opset)
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, FoundryError) as error:
            reason = " ".join(str(error).split())[:160]
        else:
            return opset
    raise FoundryError(f"the exported graph fits no ONNX operator set from {oldest} to {NEWEST}: {reason}")


def free(model: Any) -> None:
    """Let a graph that was traced at one height and width say that it takes any; in place.

    That is so where no node asks for a size, which only a comparison at other sizes can show.
    """
    graph = model.graph
    for dim, name in zip(graph.input[0].type.tensor_type.shape.dim[2:], ("height", "width"), strict=True):
        dim.dim_param = name
    graph.ClearField("value_info")


def anonymise(model: Any, scale: int) -> None:
    """Remove what the exporter notes about this machine (stack traces with paths) and name the output's sizes."""
    graph = model.graph
    for item in [model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]:
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    sizes = graph.output[0].type.tensor_type.shape.dim
    for dim, name in zip(sizes[2:], ("height", "width"), strict=True):
        dim.dim_param = f"{scale}*{name}"


def _check_known(model: Any, opset: int) -> None:
    """Refuse attributes and inputs that an operator did not have yet, which the checker lets pass in part."""
    from onnx import defs

    for node in model.graph.node:
        try:
            schema = defs.get_schema(node.op_type, opset, "")
        except defs.SchemaError:
            raise FoundryError(f"there is no {node.op_type} in {opset}") from None
        strange = {attribute.name for attribute in node.attribute} - set(schema.attributes)
        if strange or len(node.input) > schema.max_input:
            raise FoundryError(f"{node.op_type} has no {', '.join(sorted(strange)) or 'such input'} in {opset}")


def _become(node: Any, operator: str, inputs: Sequence[str]) -> None:
    kept = list(inputs)
    node.op_type = operator
    del node.input[:]
    node.input.extend(kept)
    node.ClearField("attribute")


def _drop_unused(graph: Any) -> None:
    used = {name for node in graph.node for name in node.input}
    for items in (graph.initializer, graph.value_info):
        made = used if items is graph.initializer else {name for node in graph.node for name in node.output}
        for item in [item for item in items if item.name not in made]:
            items.remove(item)


def _is_shift(node: Any, constants: dict[str, Any]) -> bool:
    """A 1x1 convolution by the identity."""
    if len(node.input) != 3 or not {node.input[1], node.input[2]} <= constants.keys():
        return False
    weight = _array(constants[node.input[1]])
    plain = all(list(each.ints) in ([0] * 4, [1] * 2) for each in node.attribute if each.ints)
    return plain and weight.shape[2:] == (1, 1) and np.array_equal(weight[..., 0, 0], np.eye(len(weight)))


def _keeps_dimensions(node: Any) -> bool:
    return all(attribute.i == 1 for attribute in node.attribute if attribute.name == "keepdims")


def _axes(node: Any, constants: dict[str, Any]) -> list[int]:
    if len(node.input) < 2 or node.input[1] not in constants:
        return []
    return [int(axis) for axis in _array(constants[node.input[1]])]


def _array(constant: Any) -> np.ndarray:
    from onnx import numpy_helper

    return numpy_helper.to_array(constant)

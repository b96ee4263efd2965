"""Exported graphs are as old and as plain as their operators allow: old and small runtimes read them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from srfoundry.core.errors import FoundryError
from srfoundry.deployment import export, graph
from tests import tiny

FAMILY = {
    "Add",
    "Clip",
    "Concat",
    "Conv",
    "DepthToSpace",
    "GlobalAveragePool",
    "LeakyRelu",
    "Mul",
    "Pad",
    "Relu",
    "Sigmoid",
}


def model(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], opset: int = 18) -> onnx.ModelProto:
    shape = ["b", 3, "h", "w"]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("low", "restored")]
    ends[1].type.tensor_type.shape.ClearField("dim")
    for _ in shape:
        ends[1].type.tensor_type.shape.dim.add()
    made = helper.make_graph(
        nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(v, k) for k, v in constants.items()]
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def test_the_family_needs_opset_11_and_ir_6(tmp_path: Path) -> None:
    """ONNX Runtime 1.17 reads IR 9 at most, OpenCV's DNN few forms of a mean: what is listed here runs in both."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny.exported()[0])
    proto = export.read_proto(path)
    assert proto.ir_version == 6
    assert [(each.domain, each.version) for each in proto.opset_import] == [("", 11)]
    assert {node.op_type for node in proto.graph.node} == FAMILY
    assert proto.graph.node[0].op_type == "Add"  # the mean's shift: OpenCV's DNN finds the free sizes by it
    assert not proto.functions and not any(node.domain for node in proto.graph.node)


def test_a_newer_operator_raises_the_set_and_no_more() -> None:
    low = model([helper.make_node("Gelu", ["low"], ["restored"])], {}, opset=20)
    assert graph.lower(low, 11) == 20 == low.opset_import[0].version
    assert low.ir_version == helper.find_min_ir_version_for(low.opset_import)
    assert graph.lower(model([helper.make_node("Relu", ["low"], ["restored"])], {}), 15) == 15


def test_an_attribute_that_an_operator_had_not_yet_raises_it_too() -> None:
    nodes = [helper.make_node("Pad", ["low", "pads", "", "axes"], ["restored"], mode="edge")]
    axes = {"pads": np.array([1, 1], np.int64), "axes": np.array([2], np.int64)}
    assert graph.lower(model(nodes, axes), 11) == 18


def test_an_unknown_operator_is_named() -> None:
    with pytest.raises(FoundryError, match="fits no ONNX operator set from 11 to 22"):
        graph.lower(model([helper.make_node("Frobnicate", ["low"], ["restored"])], {}), 11)


def test_means_and_shifts_are_written_plainly() -> None:
    shift = np.array([0.1, 0.2, 0.3], np.float32)
    nodes = [
        helper.make_node("Conv", ["low", "eye", "shift"], ["moved"], kernel_shape=[1, 1]),
        helper.make_node("ReduceMean", ["moved", "axes"], ["restored"], keepdims=1),
    ]
    eye = np.eye(3, dtype=np.float32)[..., None, None]
    made = model(nodes, {"eye": eye, "shift": shift, "axes": np.array([2, 3], np.int64)})
    graph.plain(made)
    assert [node.op_type for node in made.graph.node] == ["Add", "GlobalAveragePool"]
    assert [item.name for item in made.graph.initializer] == ["shift"]
    assert numpy_helper.to_array(made.graph.initializer[0]).shape == (1, 3, 1, 1)
    graph.lower(made, 11)
    from onnxruntime import InferenceSession

    low = np.random.default_rng(0).random((2, 3, 5, 4), np.float32)
    (found,) = InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"low": low})
    np.testing.assert_allclose(np.asarray(found), (low + shift[:, None, None]).mean((2, 3), keepdims=True), atol=1e-6)


def test_other_means_and_convolutions_are_left_alone() -> None:
    nodes = [
        helper.make_node("Conv", ["low", "mix", "shift"], ["mixed"], kernel_shape=[1, 1]),
        helper.make_node("ReduceMean", ["mixed", "axes"], ["restored"], keepdims=1),
    ]
    mix = np.full((3, 3, 1, 1), 0.5, np.float32)
    made = model(nodes, {"mix": mix, "shift": np.zeros(3, np.float32), "axes": np.array([1], np.int64)})
    graph.plain(made)
    assert [node.op_type for node in made.graph.node] == ["Conv", "ReduceMean"]

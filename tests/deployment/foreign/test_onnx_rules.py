"""What chaiNNer and vs-mlrt want of a file: ours keeps it, files that do not are named."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from srfoundry.core.errors import FoundryError
from srfoundry.deployment.foreign import onnx_rules
from tests import served, tiny


def changed(change: Callable[[Any], object]) -> bytes:
    """The tiny network's file after a change."""
    model = onnx.load_model_from_string(tiny.exported()[0])
    change(model)
    return model.SerializeToString()


def test_the_family_keeps_the_rules(tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny.exported()[0])
    made = onnx_rules.convert(path)
    assert made.files == {"tiny-x2.onnx": tiny.exported()[0]}
    assert made.difference is not None and made.difference < 1e-5


def half(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def second_output(model: Any) -> None:
    model.graph.output.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def newer(model: Any) -> None:
    model.opset_import[0].version = 21


def newer_file(model: Any) -> None:
    model.ir_version = 10


def strangers(model: Any) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def channels_last(model: Any) -> None:
    sizes = model.graph.input[0].type.tensor_type.shape.dim
    sizes[1].dim_param, sizes[3].dim_value = "height", 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (half, "input is not float32"),
        (second_output, "not one image in and one out"),
        (newer, "operator set 21, IR 6, at most 20 and 9"),
        (newer_file, "IR 10"),
        (strangers, "not ONNX's own"),
        (channels_last, "is not (batch, 1 or 3, height, width)"),
    ],
)
def test_a_broken_rule_is_named(change: Callable[[Any], None], said: str) -> None:
    assert said in "; ".join(onnx_rules.check(changed(change), 2))


def test_the_scale_is_read_off_the_shapes() -> None:
    blob = tiny.exported()[0]
    assert onnx_rules.check(blob, 2) == []
    assert onnx_rules.check(blob, 4) == ["its shapes say x2, it is x4"]


def test_a_graph_that_gives_no_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.onnx"
    path.write_bytes(served.model(math.nan))
    with pytest.raises(FoundryError, match="got a difference of nan"):
        onnx_rules.convert(path)


def test_a_file_that_breaks_a_rule_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny.exported()[0])
    monkeypatch.setattr(onnx_rules, "NEWEST_OPSET", 9)
    with pytest.raises(FoundryError, match="would not take .*tiny.onnx: operator set 11"):
        onnx_rules.convert(path)

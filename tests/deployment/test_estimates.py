"""A network that estimates its input's blur and noise says them in every file that is made of it, and proves them."""

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from srfoundry.core import seeds
from srfoundry.core.errors import FoundryError
from srfoundry.deployment import export, precision
from srfoundry.deployment.foreign import conversion, ncnn_files, onnx_rules, triton_repository
from srfoundry.deployment.model_card import text
from srfoundry.deployment.settings import ParityCheck, Precisions
from srfoundry.networks.sr.conditioned import Conditioned, start_at_bicubic
from srfoundry.networks.zoo.architectures import build
from srfoundry.runtime.session import Session
from tests import tiny

ARCH = {"name": "conditioned", "scale": 2, "blocks": 1, "width": 4, "taps": 7}
CHECK = ParityCheck(sizes=[(37, 53), (5, 7), (3, 2)], tolerance=1e-4)


def net() -> Conditioned:
    """Random weights, but near the bicubic image, the same each time."""
    made = build(ARCH)
    assert isinstance(made, Conditioned)
    seeds.redraw(made, seeds.generator(3, "conditioned"))
    start_at_bicubic(made)
    return made.eval()


@cache
def written(folder: Path) -> export.Written:
    return export.write(net(), dataclasses.replace(tiny.describe(), arch=ARCH), folder / "blind.onnx", CHECK)


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported file, in a folder that the tests share."""
    folder = tmp_path_factory.getbasetemp()
    assert written(folder).worst < 1e-5
    return folder / "blind.onnx"


def test_the_card_names_the_outputs_and_the_session_gives_them(path: Path) -> None:
    session, low = Session(path, threads=1), np.random.default_rng(0).random((2, 3, 21, 34), np.float32)
    assert session.card.outputs == ["restored", "kernel", "noise"] and session.card.opset == 11
    found, expected = session.outputs(low), export.OnnxNet(net()).everything(low)
    assert list(expected) == session.card.outputs and set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5)
    assert found["kernel"].shape == (2, 1, 7, 7) and found["noise"].shape == (2, 1, 1, 1)
    np.testing.assert_array_equal(session.run(low), found["restored"])
    small = session.outputs(low[..., :2, :3])  # smaller than a graph takes
    assert small["restored"].shape == (2, 3, 4, 6) and small["kernel"].shape == (2, 1, 7, 7)


def test_a_plain_network_has_its_image_alone(tmp_path: Path) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny.exported()[0])
    session = Session(tmp_path / "tiny.onnx", threads=1)
    assert session.card.outputs == ["restored"] == list(session.outputs(np.zeros((1, 3, 8, 8), np.float32)))


def test_the_card_for_people_says_so(path: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny.exported()[0])
    with_estimate, without = (
        text.readme(text.Facts(Session(each, threads=1).card, 1000), "me/net")
        for each in (path, tmp_path / "tiny.onnx")
    )
    said = "Beside the image it gives `kernel` and `noise`, its estimate of the blur and the noise."
    assert said in with_estimate and said not in without and "conditioned on the blur" in with_estimate


def test_another_kernel_is_a_difference(path: Path) -> None:
    """The image alone would pass: the comparison is of every output."""
    other = net()
    with torch.no_grad():
        other.predictor.kernel.weight.mul_(2)
    low = np.random.default_rng(0).random((1, 3, 16, 16), np.float32)
    np.testing.assert_allclose(export.OnnxNet(other).run(low), Session(path, threads=1).run(low), atol=1e-5)
    assert export.parity(export.OnnxNet(other), Session(path, threads=1), [(16, 16)]) > 1e-4


def test_a_card_without_the_image_is_none(path: Path) -> None:
    proto = export.read_proto(path)
    card = dataclasses.replace(Session(path, threads=1).card, outputs=["kernel"])
    with pytest.raises(FoundryError, match="carries no srfoundry card"):
        Session(export.stamped(proto, card), threads=1)


def test_files_of_lower_precision_say_them_too(path: Path) -> None:
    rough = torch.rand(1, 3, 9, 11, generator=seeds.generator(0, "judge"))
    smooth = nn.functional.interpolate(rough, size=(64, 80), mode="bicubic").clamp(0, 1)
    chosen = Precisions(precisions=["fp16", "int8"], precision_loss=0.1, precision_time=0.8)
    precision.beside(path, precision.Judge([smooth], 2), chosen)
    low = np.random.default_rng(0).random((1, 3, 24, 32), np.float32)
    expected = Session(path, threads=1).outputs(low)
    for kind, tolerance in (("fp16", 5e-3), ("int8", 5e-2)):
        found = Session(path.parent / kind / path.name, threads=1).outputs(low)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, atol=tolerance)


def test_programs_of_one_output_are_given_the_image_alone(path: Path) -> None:
    (name, blob), *others = onnx_rules.convert(path).files.items()
    assert name == "blind-x2.onnx" and not others and len(onnx.load_model_from_string(blob).graph.output) == 1
    session, low = Session(blob, threads=1), np.random.default_rng(0).random((1, 3, 20, 30), np.float32)
    np.testing.assert_array_equal(session.run(low), Session(path, threads=1).run(low))
    assert session.card == dataclasses.replace(Session(path, threads=1).card, outputs=["restored"])
    assert conversion.image_alone(blob) is blob
    made = ncnn_files.convert(path)
    assert made.difference is not None and made.difference < 1e-3


def test_triton_lists_all_of_them(path: Path) -> None:
    config = triton_repository.config("blind", Session(path, threads=1).card)
    assert '{ name: "kernel" data_type: TYPE_FP32 dims: [ 1, -1, -1 ] }' in config
    assert triton_repository.convert(path).difference is not None

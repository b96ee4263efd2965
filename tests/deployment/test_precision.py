"""Files of lower precision go through a gate: what they lose is measured, and too much is refused."""

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from srfoundry.core import seeds
from srfoundry.deployment import export, precision
from srfoundry.deployment.export import read_proto
from srfoundry.deployment.precision import Judge, beside
from srfoundry.deployment.settings import Precisions
from srfoundry.imaging import images, resize
from srfoundry.networks.sr.drn import DRN, start_at_bicubic
from srfoundry.runtime.session import Session
from tests import tiny


@cache
def exported(folder: Path) -> Path:
    """A net that gives nearly the bicubic image, wide enough for int8, and folded."""
    torch.manual_seed(0)
    net = DRN(scale=2, blocks=1, width=12).eval()
    start_at_bicubic(net)
    held = {"held_out.bicubic": {"psnr_y": 30.0}, "held_out.md5": "these", "validation": {"psnr_y": 31.0}}
    card = dataclasses.replace(tiny.describe(), name="wide", metrics=held)
    export.write(net, card, folder / "wide.onnx", tiny.QUICK)
    return folder / "wide.onnx"


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported file, alone in a folder that the tests share; what is written overwrites itself."""
    return exported(tmp_path_factory.getbasetemp())


@pytest.fixture
def judge() -> Judge:
    """Two smooth pictures whose sides are no multiples of the scale."""
    rng = seeds.generator(0, "judge")
    rough = torch.rand(2, 3, 9, 11, generator=rng)
    smooth = torch.nn.functional.interpolate(rough, size=(65, 81), mode="bicubic").clamp(0, 1)
    return Judge([smooth[:1], smooth[1:]], 2)


def chosen(*precisions: str, loss: float = 0.1) -> Precisions:
    return Precisions(precisions=list(precisions), precision_loss=loss, precision_time=0.8)  # pyright: ignore[reportArgumentType]


def test_both_are_written_with_cards_of_their_own(path: Path, judge: Judge) -> None:
    """Half the bytes and next to no loss; figures of the original are not theirs; the same bytes each time."""
    found = beside(path, judge, chosen("fp16", "int8"))
    original = Session(path, threads=1)
    assert all(each["written"] and each["psnr_loss"] <= 0.1 for each in found.values())
    assert found["wide_fp16"]["bytes"] < 0.7 * path.stat().st_size
    low = torch.rand(1, 3, 21, 34, generator=seeds.generator(0, "low")).numpy()
    for name, kind, tolerance in (("wide_fp16", "fp16", 5e-3), ("wide_int8", "int8", 5e-2)):
        written = path.parent / kind / "wide.onnx"
        session = Session(written, threads=1)
        assert session.card.precision == kind and session.card.name == name
        assert session.card.metrics["reduced"]["from"] == "wide" and "held_out.md5" not in session.card.metrics
        assert session.card.metrics["validation"] == original.card.metrics["validation"]
        assert session.card.opset == read_proto(written).opset_import[0].version
        assert float(np.abs(session.run(low) - original.run(low)).max()) < tolerance
        before = written.read_bytes()
        beside(path, judge, chosen(kind))
        assert written.read_bytes() == before and written.with_suffix(".json").is_file()


def test_enlargement_and_tail_stay_in_float(path: Path, judge: Judge) -> None:
    """Quantised are the convolutions between the first nonlinearity and the last, but for the gates' tiny ones."""
    layers = beside(path, judge, chosen("int8"))["wide_int8"]["layers"]
    proto = read_proto(path.parent / "int8" / "wide.onnx")
    weights = {item.name: item for item in proto.graph.initializer}
    quantised = [node for node in proto.graph.node if node.op_type == "Conv" and node.input[1] not in weights]
    assert len(quantised) == layers == 3  # the second of the way down, and two of the block
    assert not any(item.data_type == onnx.TensorProto.FLOAT16 for item in proto.graph.initializer)


def test_what_loses_too_much_is_refused_with_the_figures(tmp_path: Path, path: Path, judge: Judge) -> None:
    copy = tmp_path / "mine.onnx"
    copy.write_bytes(path.read_bytes())
    found = beside(copy, judge, chosen("fp16", loss=0.001))["mine_fp16"]
    assert not found["written"] and found["psnr_loss"] > 0.001
    assert [each.name for each in tmp_path.iterdir()] == ["mine.onnx"]


def test_the_costliest_layers_are_left_in_float_first(
    path: Path, judge: Judge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With losses of 0.3, 0.02 and 0.05 dB and 0.1 dB allowed, only the first layer is left out."""
    proto = read_proto(path)
    names = precision._inner_convolutions(proto)
    cost = dict(zip(names, (0.3, 0.02, 0.05), strict=True))
    monkeypatch.setattr(precision, "_quantised", lambda source, ranges, layers: list(layers))

    def judged(layers: list[str], _judge: Judge, _seen: object, quantised: int, count: int) -> precision.Reduced:
        return precision.Reduced(b"", sum(cost[name] for name in layers), 0.0, quantised, count)

    monkeypatch.setattr(precision, "_judged", judged)
    reduced = precision._eight(path.read_bytes(), judge, judge.look(path.read_bytes()), 0.1)
    assert reduced.quantised == 2 and reduced.psnr_loss == pytest.approx(0.07)


def test_a_net_for_damaged_photographs_is_judged_on_clean_ones_too(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside noise the same error costs less: what counts is the window on which it costs most."""
    rng = seeds.generator(0, "sets")
    rough = torch.rand(2, 3, 20, 24, generator=rng)
    for index in range(2):
        high = torch.nn.functional.interpolate(rough[index : index + 1], scale_factor=8, mode="bicubic").clamp(0, 1)
        images.write(high, tmp_path / "high" / f"{index}.png")
        low = resize.cubic(high, 0.5)
        noisy = low + 0.1 * torch.randn(low.shape, generator=rng)
        images.write(noisy, tmp_path / "photographs" / f"{index}.png")
    monkeypatch.setattr(precision, "WINDOW", 64)
    judge = Judge.of_set(tmp_path, 2, "photographs", 1)
    assert [tuple(low.shape) for low in judge.low] == [(1, 3, 64, 64)] * 2 and len(judge.high) == 1
    seen = judge.look(path.read_bytes())
    clean, noisy = seen.psnr
    assert clean > noisy + 5
    before = precision.Seen(seen.images, [clean + 0.3, noisy + 0.1])
    assert precision._judged(read_proto(path), judge, before, 0, 0).psnr_loss == pytest.approx(0.3, abs=1e-4)


def test_nothing_wide_enough_is_no_int8(path: Path, judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "LEAST", 100)
    found = beside(path, judge, chosen("int8"))["wide_int8"]
    assert not found["written"] and found["quantised"] == found["layers"] == 0

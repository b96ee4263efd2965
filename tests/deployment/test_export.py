"""An exported file must give PyTorch's numbers at every size, say what it is, and be the same bytes each time."""

import dataclasses
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from srfoundry.core import seeds
from srfoundry.core.errors import FoundryError
from srfoundry.deployment import export
from srfoundry.networks.sr.drn import DRN
from srfoundry.runtime.session import OnnxCard, Session, padded
from tests import tiny


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The tiny network's exported file."""
    file = tmp_path / "tiny.onnx"
    file.write_bytes(tiny.exported()[0])
    return file


@pytest.mark.parametrize(("height", "width"), [(48, 80), (33, 21), (1, 1), (2, 300), (129, 64)])
def test_numbers_are_pytorchs_at_sizes_never_traced(path: Path, height: int, width: int) -> None:
    low = torch.rand(1, 3, height, width, generator=seeds.generator(0, height, width)).numpy()
    restored = Session(path, threads=1).run(low)
    expected = padded(export.OnnxNet(tiny.net()).run, low, 1, 2)
    assert restored.shape == (1, 3, 2 * height, 2 * width)
    assert float(np.abs(restored - expected).max()) < 1e-5


def test_a_net_for_three_is_exported_too(tmp_path: Path) -> None:
    """One stride and one shuffle by three, any height and width."""
    card = dataclasses.replace(tiny.describe(), scale=3, arch={**tiny.ARCH, "scale": 3})
    written = export.write(DRN(scale=3, blocks=1, width=4), card, tmp_path / "x3.onnx", tiny.CHECK)
    assert written.worst < 1e-5
    low = torch.rand(1, 3, 10, 7, generator=seeds.generator(0, "low")).numpy()
    assert Session(tmp_path / "x3.onnx", threads=1).run(low).shape == (1, 3, 30, 21)


def test_write_reports_the_worst_difference() -> None:
    assert 0 <= tiny.exported()[1] < 1e-5


def test_same_bytes_twice_and_no_word_of_this_machine(
    path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    again = tmp_path / "again" / "tiny.onnx"
    with caplog.at_level(logging.WARNING):
        export.write(tiny.net(), tiny.describe(), again, tiny.QUICK)
    blob = path.read_bytes()
    assert again.read_bytes() == blob
    assert str(Path.cwd()).encode() not in blob and b'File "' not in blob and b".py" not in blob
    assert not caplog.records and capfd.readouterr() == ("", "")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare a test the seconds of tracing the same network again."""
    monkeypatch.setattr(export, "_to_bytes", lambda wrapped, card: (tiny.exported()[0], card))


@pytest.mark.usefixtures("quick")
def test_card_travels_inside_and_beside(path: Path, tmp_path: Path) -> None:
    written = tmp_path / "out" / "tiny.onnx"
    card = tiny.describe()
    export.write(tiny.net(), card, written, tiny.QUICK)
    assert Session(path, threads=1).card == card
    assert json.loads(written.with_suffix(".json").read_text()) == dataclasses.asdict(card)
    assert card.metrics["psnr_y"] == 30.5 and card.metrics["held_out.bicubic"]["psnr_y"] == 31.0
    names = {prop.key for prop in export.read_proto(path).metadata_props}
    assert names == {field.name for field in dataclasses.fields(OnnxCard)}


@pytest.mark.usefixtures("quick")
def test_too_large_a_difference_leaves_no_file(tmp_path: Path) -> None:
    target = tmp_path / "wrong.onnx"
    with pytest.raises(FoundryError, match="within 1e-30, got a difference of .*deleted"):
        export.write(tiny.net(), tiny.describe(), target, dataclasses.replace(tiny.QUICK, tolerance=1e-30))
    assert not list(tmp_path.iterdir())


def test_nan_is_a_difference(path: Path) -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))

        def forward(self, low: Tensor) -> Tensor:
            return torch.full((1, 3, 2 * low.shape[2], 2 * low.shape[3]), float("nan")) + self.weight

    worst = export.parity(export.OnnxNet(Broken()), Session(path, threads=1), [(16, 16)])
    assert worst != worst

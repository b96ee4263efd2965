"""The held-out photographs as a judge: figures belong to the images that they were measured on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from srfoundry.deployment.held_out import HeldOut, seconds
from srfoundry.imaging import images, metrics, resize
from srfoundry.runtime.session import Session
from tests import tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photographs and their bicubic reductions."""
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        high = torch.from_numpy(rng.random((1, 3, 40, 48), dtype=np.float32))
        images.write(high, tmp_path / "high" / name)
        images.write(resize.cubic(images.read(tmp_path / "high" / name), 0.5), tmp_path / "bicubic" / name)
    return tmp_path


def test_a_model_is_scored_against_bicubic_on_the_same_grid(folder: Path) -> None:
    """Means over the photographs, of what ONNX Runtime gives; time and size beside them."""
    blob = tiny.exported()[0]
    found = HeldOut(folder, 2).figures(blob)
    assert found is not None and found.size == len(blob) and found.seconds and found.seconds > 0
    session, psnr, plain = Session(blob, threads=1, device="cpu"), [], []
    for name in ("a.png", "b.png"):
        high, low = images.read(folder / "high" / name), images.read(folder / "bicubic" / name)
        psnr.append(metrics.psnr_y(torch.from_numpy(session.run(low.numpy())), high, 2))
        plain.append(metrics.psnr_y(resize.cubic(low, 2).clamp(0, 1), high, 2))
    assert found.psnr == pytest.approx(sum(psnr) / 2, abs=0.02) and found.bicubic == pytest.approx(sum(plain) / 2)


def test_what_cannot_be_scored_is_none(folder: Path) -> None:
    """No photographs, another scale, no model of this project."""
    blob = tiny.exported()[0]
    assert HeldOut(folder / "nothing", 2).figures(blob) is None
    assert HeldOut(folder, 3).figures(blob) is None
    assert HeldOut(folder, 2).figures(b"no model") is None and seconds(b"no model") is None


def test_the_hash_is_of_the_images_and_their_scale(folder: Path) -> None:
    """Another pixel, another name or another scale is another set; what else lies in the data set is not."""
    first = HeldOut(folder, 2).digest()
    assert first and HeldOut(folder, 2).digest() == first and HeldOut(folder, 3).digest() != first
    (folder / "aniso").mkdir()
    (folder / "aniso" / "a.png").write_bytes(b"other")
    assert HeldOut(folder, 2).digest() == first
    low = images.read(folder / "bicubic" / "a.png")
    images.write(1 - low, folder / "bicubic" / "a.png")
    assert HeldOut(folder, 2).digest() != first
    assert HeldOut(folder / "nothing", 2).digest() == ""


def test_a_model_is_scored_on_the_set_that_it_is_for(folder: Path) -> None:
    """Figures on another test set are of another kind: another hash, other scores, and the card says which."""
    (folder / "photographs").mkdir()
    for name in ("a.png", "b.png"):
        low = images.read(folder / "bicubic" / name)
        images.write(images.jpeg(low, 30), folder / "photographs" / name)
    clean, damaged = HeldOut(folder, 2), HeldOut(folder, 2, test="photographs")
    blob = tiny.exported()[0]
    first, second = clean.figures(blob), damaged.figures(blob)
    assert first is not None and second is not None
    assert first.held_out != second.held_out and first.bicubic > second.bicubic
    said = damaged.said({"bicubic": {"psnr_y": 30.0}, "photographs": {"psnr_y": 27.0}})
    assert said["held_out.set"] == "photographs" and said["held_out.md5"] == second.held_out
    assert said["held_out.bicubic"] == {"psnr_y": 30.0} and said["held_out.photographs"] == {"psnr_y": 27.0}
    assert HeldOut(folder, 2, test="div2krk").figures(blob) is None

"""The API of five lines: what goes in decides what comes out, and it is what the program writes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from srfoundry.core.errors import FoundryError
from srfoundry.imaging import levels
from srfoundry.runtime.session import Session
from srfoundry.runtime.upscaler import Upscaler
from tests import tiny
from tests.mlflow_stub import Stub

SIZE = (70, 90)


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return Upscaler.load(tiny.exported()[0], threads=1, device="cpu", tile=48, overlap=8)


def pixels(size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)


def test_an_array_gives_an_array_and_a_tensor_shares_its_memory(upscaler: Upscaler) -> None:
    low = pixels()
    high = upscaler(low)
    assert high.shape == (140, 180, 3) and high.dtype == np.uint8
    assert np.array_equal(upscaler(torch.from_numpy(low)), high)
    floats = upscaler.floats(torch.from_numpy(levels.to_floats(low)))
    assert floats.dtype == np.float32 and np.array_equal(levels.to_levels(floats), high)


def test_the_file_is_what_the_array_says(upscaler: Upscaler, tmp_path: Path) -> None:
    low = pixels()
    Image.fromarray(low).save(tmp_path / "low.png", dpi=(300, 300))
    seen: list[tuple[int, int]] = []
    upscaler.file(tmp_path / "low.png", tmp_path / "high.png", progress=lambda *done: seen.append(done))
    assert seen[-1] == (len(seen), len(seen)) and len(seen) == upscaler.count(*SIZE) > 1
    with Image.open(tmp_path / "high.png") as written:
        assert np.array_equal(np.asarray(written), upscaler(low)) and round(written.info["dpi"][0]) == 300
    from_path, in_memory = upscaler(tmp_path / "low.png"), upscaler(Image.fromarray(low))
    assert np.array_equal(np.asarray(from_path), upscaler(low)) and np.array_equal(np.asarray(in_memory), upscaler(low))
    assert round(from_path.info["dpi"][0]) == 300


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("RGB", "RGB"), ("L", "L"), ("LA", "LA"), ("RGBA", "RGBA"), ("P", "RGB"), ("1", "L"), ("CMYK", "RGB")],
)
def test_a_pillow_image_of_any_mode_comes_back_as_what_it_shows(upscaler: Upscaler, mode: str, expected: str) -> None:
    picture = Image.fromarray(pixels()).convert(mode)
    high = upscaler(picture)
    assert high.mode == expected and high.size == (180, 140)


def test_smaller_tiles_for_one_call(upscaler: Upscaler) -> None:
    seen: list[tuple[int, int]] = []
    upscaler(pixels(), tile=20, progress=lambda *done: seen.append(done))
    assert seen[-1][1] > upscaler.count(*SIZE)
    with pytest.raises(FoundryError, match="a tile must be larger"):
        upscaler(pixels(), tile=20, overlap=10)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((4, 4), np.uint8), "uint8, h w 3"),
        (np.zeros((4, 4, 3), np.float32), "Upscaler.floats"),
        (np.zeros((0, 4, 3), np.uint8), "uint8, h w 3"),
        (Image.new("F", (4, 4)), "8 bits a sample"),
        (Image.new("I;16", (4, 4)), "8 bits a sample"),
        ("nowhere.png", "nowhere.png not found"),
        ([1, 2], "got list"),
        (torch.zeros(4, 4, 3, requires_grad=True), "detach"),
    ],
)
def test_what_is_no_image_is_one_line(upscaler: Upscaler, image: Any, said: str) -> None:
    with pytest.raises(FoundryError, match=said):
        upscaler(image)


def test_floats_of_another_shape_are_refused(upscaler: Upscaler) -> None:
    with pytest.raises(FoundryError, match="1 3 h w"):
        upscaler.floats(np.zeros((2, 3, 8, 8), np.float32))


def test_a_checkpoint_is_not_taken_for_a_damaged_file() -> None:
    with pytest.raises(FoundryError, match="PyTorch runs"):
        Upscaler.load("models/prune.safetensors")


def test_it_is_loaded_from_a_file_or_a_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = tiny.exported()[0]
    (tmp_path / "tiny.onnx").write_bytes(blob)
    loaded = Upscaler.load(str(tmp_path / "tiny.onnx"), threads=1)
    assert (loaded.scale, loaded.card.name, loaded.tile) == (2, "tiny", loaded.card.tile)
    with Stub(blob) as registry:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.url)
        monkeypatch.setenv("SRFOUNDRY_CACHE", str(tmp_path / "cache"))
        assert Upscaler.load("models:/toy@champion", threads=1).card == loaded.card
    assert isinstance(loaded.model, Session)

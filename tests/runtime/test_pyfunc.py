"""Images of every form go in and come out in the same one, and what is no image is refused in one line."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from srfoundry.core.errors import FoundryError
from srfoundry.runtime.pyfunc import ImageModel
from tests import tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ImageModel:
    """The tiny network, twice as large."""
    file = tmp_path_factory.mktemp("model") / "tiny.onnx"
    file.write_bytes(tiny.exported()[0])
    return ImageModel(file, threads=1, device="cpu")


PIXELS = np.random.default_rng(2).integers(0, 256, (9, 14, 4), np.uint8)


@pytest.mark.parametrize(
    ("before", "after"),
    [((), ()), ((), (1,)), ((), (3,)), ((), (4,)), ((2,), (1,)), ((2,), (3,)), ((2,), (4,)), ((0,), (3,))],
)
def test_pixels_keep_their_axes_and_channels(
    model: ImageModel, before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    pixels = np.resize(PIXELS, (*before, 9, 14, *after))
    large = model.predict(pixels)
    assert large.dtype == np.uint8 and large.shape == (*before, 18, 28, *after)
    assert np.array_equal(model.predict(pixels.astype(np.int64)), large)


def test_alpha_is_enlarged_beside_the_colours(model: ImageModel) -> None:
    opaque = np.dstack([PIXELS[..., :3], np.full((9, 14), 255, np.uint8)])
    large = model.predict(opaque)
    assert np.array_equal(large[..., :3], model.predict(PIXELS[..., :3])) and (large[..., 3] == 255).all()


def test_files_come_back_as_files_and_texts_as_texts(model: ImageModel) -> None:
    colours = PIXELS[..., :3]
    file = io.BytesIO()
    Image.fromarray(colours).save(file, "PNG")
    blob, text = file.getvalue(), base64.b64encode(file.getvalue()).decode()
    expected = model.predict(colours)
    given: list[Any] = [blob, bytearray(blob), memoryview(blob), np.bytes_(blob)]
    assert all(np.array_equal(_opened(model.predict(each)), expected) for each in given)
    for each in (text, f"data:image/png;base64,{text}", np.str_(text), np.array(text)):
        assert np.array_equal(_opened(base64.b64decode(model.predict(each))), expected)
    assert [type(each) for each in model.predict([blob, text, colours])] == [bytes, str, np.ndarray]
    assert [type(each) for each in model.predict(np.array([text, text]))] == [str, str]
    assert set(model.predict({"image": [text]})) == {"image"}
    assert model.predict([]) == []


def test_tensors_are_what_the_graph_takes(model: ImageModel) -> None:
    low = np.random.default_rng(3).random((2, 3, 5, 8))
    large = model.predict(low)
    np.testing.assert_allclose(large, model.upscaler.model.run(low.astype(np.float32)), atol=1e-6)
    assert large.dtype == np.float32
    assert np.array_equal(model.predict({"low": low})["restored"], large)


def test_large_images_run_in_tiles(model: ImageModel) -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (200, 130, 3), np.uint8)
    whole = model.predict(pixels, {"tile": 256}).astype(int)
    cut = model.predict(pixels, {"tile": 64, "overlap": 16}).astype(int)
    assert np.abs(whole - cut).mean() < 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (5, "must be encoded bytes"),
        (True, "must be encoded bytes"),
        (None, "must be encoded bytes"),
        (b"no image", "not an image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "the image"),
        ("no base64!", "in base64"),
        (np.zeros((3, 4, 5), np.uint8), r"got the shape \(3, 4, 5\)"),
        (np.zeros((0, 5, 3), np.uint8), "must have pixels"),
        (np.array([[1, 300]]), "0 to 255, got 1 to 300"),
        (np.zeros((1, 4, 5, 3), np.float32), "floats must be b 3 h w"),
        (np.zeros((3, 4, 5), np.float32), "floats must be b 3 h w"),
        (np.zeros((4, 5), bool), "integers or floats, got bool"),
        ({"picture": b""}, "named input must be"),
        ([[1, 2], [3]], "got the shape"),
    ],
)
def test_what_is_no_image_is_refused(model: ImageModel, given: Any, said: str) -> None:
    with pytest.raises(FoundryError, match=said):
        model.predict(given)


def test_wrong_parameters_are_refused(model: ImageModel) -> None:
    with pytest.raises(FoundryError, match="format must be one of"):
        model.predict(PIXELS, {"format": "gif"})
    with pytest.raises(FoundryError, match="twice its overlap"):
        model.predict(PIXELS, {"tile": 16, "overlap": 9})


def test_the_folder_of_a_call_is_removed(model: ImageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(FoundryError):
        model.predict(b"no image")
    assert not list(tmp_path.iterdir())


def _opened(blob: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(blob)) as picture:
        return np.asarray(picture)

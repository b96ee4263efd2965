"""What is not restored goes to an exported network where there is one that fits, else it is enlarged on its grid."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.imaging import images, resize
from srfoundry.imaging.user_image import Photograph
from srfoundry.restoration.plain_upscaling import LINEAR, NO_UPSCALER, PLAIN, PlainUpscaler
from tests import tiny


def photograph() -> Photograph:
    pixels = torch.randint(0, 256, (20, 30, 3), generator=generator(1, "photograph"), dtype=torch.uint8).numpy()
    return Photograph(pixels, None, False, {})


def cubic(original: Photograph, scale: int, phase: float) -> np.ndarray:
    low = images.from_uint8(torch.from_numpy(original.pixels)[None])
    return images.to_uint8(resize.cubic_at(low, scale, phase).clamp(0, 1))[0].numpy()


def test_without_networks_it_is_cubic_interpolation_on_the_right_grid(tmp_path: Path) -> None:
    original = photograph()
    for upscaler in (NO_UPSCALER, PlainUpscaler(tmp_path), PlainUpscaler(tmp_path / "missing")):
        for phase in (0.0, 0.5):
            pixels, how = upscaler.enlarge(original, 2, phase)
            assert how == PLAIN and np.array_equal(pixels, cubic(original, 2, phase))


def test_a_network_takes_images_whose_pixels_are_centred_as_in_its_training(tmp_path: Path) -> None:
    (tmp_path / "pruned.onnx").write_bytes(tiny.exported()[0])
    original, upscaler = photograph(), PlainUpscaler(tmp_path)
    pixels, how = upscaler.enlarge(original, 2, 0.5)
    assert how == "upscaled by pruned" and pixels.shape == (40, 60, 3)
    assert not np.array_equal(pixels, cubic(original, 2, 0.5))
    assert upscaler.enlarge(original, 2, 0.5, linear=torch.zeros_like)[1] == how
    assert upscaler.enlarge(original, 2, 0.5, linear=lambda low: resize.cubic(low, 2), damaged=True)[1] == LINEAR
    assert upscaler.enlarge(original, 2, 0.5, damaged=False)[1] == how
    assert upscaler.enlarge(original, 2, 0.0)[1] == PLAIN  # its result would lie half a block beside its place
    assert upscaler.enlarge(original, 3, 1.0)[1] == PLAIN  # of another scale


def test_what_is_known_of_an_image_takes_the_place_of_cubic_interpolation() -> None:
    original = photograph()
    pixels, how = NO_UPSCALER.enlarge(original, 2, 0.5, linear=lambda low: resize.cubic_at(low, 2, 0.25))
    assert how == LINEAR and np.array_equal(pixels, cubic(original, 2, 0.25))


def test_a_network_that_cannot_be_used_is_an_error_until_it_is_mended(tmp_path: Path) -> None:
    """Interpolation in its place would be another result, and nobody would know."""
    path, original, upscaler = tmp_path / "pruned.onnx", photograph(), PlainUpscaler(tmp_path)
    path.write_bytes(b"no model")
    with pytest.raises(FoundryError, match="is not a usable ONNX model"):
        upscaler.enlarge(original, 2, 0.5)
    assert upscaler.enlarge(original, 2, 0.0)[1] == PLAIN  # for which no network is asked
    path.write_bytes(tiny.exported()[0])
    assert upscaler.enlarge(original, 2, 0.5)[1] == "upscaled by pruned"


def test_without_onnx_runtime_networks_are_left_alone_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pruned.onnx").write_bytes(tiny.exported()[0])
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    original = photograph()
    pixels, how = PlainUpscaler(tmp_path).enlarge(original, 2, 0.5)
    assert how.startswith(PLAIN) and "pip install 'srfoundry[cpu]'" in how
    assert np.array_equal(pixels, cubic(original, 2, 0.5))

"""Resizing is MATLAB's, to the bit where there are stored values and in its properties elsewhere."""

import numpy as np
import pytest
import torch
from PIL import Image

from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.imaging import resize
from tests.conftest import golden


def test_eight_bit_reduction_equals_matlabs() -> None:
    different = 0
    for path in sorted(golden("golden/matlab_bicubic").glob("*_HR.png")):
        scale = int(path.stem.split("_x")[1][0])
        high, low = (
            torch.from_numpy(np.array(Image.open(str(path).replace("_HR", part)).convert("RGB"))).permute(2, 0, 1)[None]
            for part in ("_HR", "_LR")
        )
        different += int((resize.cubic_uint8(high, 1 / scale) != low).sum())
    assert different == 0


@pytest.mark.parametrize("image", ["even", "odd", "p64"])
@pytest.mark.parametrize(("kind", "scale"), [("down2", 0.5), ("down4", 0.25), ("up2", 2), ("up4", 4)])
def test_float_resizing_equals_the_reference(image: str, kind: str, scale: float) -> None:
    stored = np.load(golden("golden/reference/mzsr_imresize.npz"))
    source = torch.from_numpy(stored[f"img_{image}"]).double().permute(2, 0, 1)[None]
    expected = torch.from_numpy(stored[f"{image}_cubic_{kind}"]).permute(2, 0, 1)[None]
    assert float((resize.cubic(source, scale) - expected).abs().max()) < 1e-12


@pytest.mark.parametrize("border", ["symmetric", "replicate"])
@pytest.mark.parametrize("scale", [0.01, 1 / 64, 0.25, 1 / 3, 0.5, 0.7, 1.0, 2, 3, 4, 40])
def test_constants_stay_constant(border: resize.Border, scale: float) -> None:
    image = torch.full((1, 2, 24, 36), 0.3, dtype=torch.float64)
    out = resize.cubic(image, scale, border=border)
    assert tuple(out.shape[-2:]) == resize.output_size(image, scale)
    assert float((out - 0.3).abs().max()) < 1e-12


def test_a_ramp_is_resampled_exactly_inside() -> None:
    ramp = torch.arange(40, dtype=torch.float64).expand(1, 1, 8, 40)
    enlarged = resize.cubic(ramp, 2)[0, 0, 4, 8:-8]
    expected = (torch.arange(80, dtype=torch.float64) + 0.5)[8:-8] / 2 - 0.5
    assert float((enlarged - expected).abs().max()) < 1e-12


@pytest.mark.parametrize("border", ["symmetric", "replicate"])
@pytest.mark.parametrize("scale", [0.3, 0.5, 1.7, (0.5, 2), (3, 0.4)])
def test_eight_bits_are_rounded_after_each_pass(border: resize.Border, scale: resize.Scale) -> None:
    """Each pass is the float one on whole levels, half up; the smaller scale is done first, as MATLAB does."""
    levels = torch.randint(0, 256, (2, 3, 21, 34), dtype=torch.uint8, generator=generator(1))
    rows, columns = scale if isinstance(scale, tuple) else (scale, scale)
    passes = [(rows, 1), (1, columns)] if rows <= columns else [(1, columns), (rows, 1)]
    expected = levels.double()
    for each in passes:
        expected = torch.floor(resize.cubic(expected, each, border=border) + 0.5).clamp(0, 255)
    made = resize.cubic_uint8(levels, scale, border=border)
    assert tuple(made.shape[-2:]) == resize.output_size(levels, scale)
    assert made.double().equal(expected)


def test_conventions_differ_at_the_border_alone() -> None:
    levels = torch.randint(0, 256, (1, 1, 40, 40), dtype=torch.uint8, generator=generator(1))
    old, new = (resize.cubic_uint8(levels, 0.5, border=border) for border in ("replicate", "symmetric"))
    assert old[..., 2:-2, 2:-2].equal(new[..., 2:-2, 2:-2]) and not old.equal(new)


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), (2, 0)])
def test_an_impossible_scale_is_said(scale: resize.Scale) -> None:
    with pytest.raises(FoundryError, match="above 0"):
        resize.cubic(torch.zeros(1, 1, 4, 4), scale)


def test_gradients_are_those_of_finite_differences() -> None:
    image = torch.rand(1, 1, 6, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: resize.cubic(x, 0.5), image)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("scale", [0.5, 1 / 3, 0.25, 1.7, 2])
def test_a_gpu_gives_the_same_bits(scale: float) -> None:
    levels = torch.randint(0, 256, (2, 3, 48, 60), dtype=torch.uint8, generator=generator(1))
    assert resize.cubic_uint8(levels.cuda(), scale).cpu().equal(resize.cubic_uint8(levels, scale))
    floats = levels.double() / 255
    assert float((resize.cubic(floats.cuda(), scale).cpu() - resize.cubic(floats, scale)).abs().max()) < 1e-14

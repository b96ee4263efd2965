"""Resizing is MATLAB's, to the bit where there are stored values and in its properties elsewhere."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image

from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.imaging import resize
from tests.conftest import golden, reference


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


@pytest.mark.parametrize("scale", [1 / 2, 1 / 4, 1 / 8], ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 128, 130), (1, 3, 141, 97)], ids=str)
def test_photographs_are_halved_to_the_same_bits(
    shape: tuple[int, ...], scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Pillow where they are large: hard edges that are clipped, odd sizes, either order in memory."""
    levels = torch.randint(0, 2, shape, dtype=torch.uint8, generator=generator(3)) * 255
    levels[..., ::3] = torch.randint(0, 256, levels[..., ::3].shape, dtype=torch.uint8, generator=generator(4))
    last = levels.contiguous(memory_format=torch.channels_last)
    quick = resize.cubic_uint8(levels, scale), resize.cubic_uint8(last, scale)
    monkeypatch.setattr(resize, "LARGE", 1 << 40)
    slow = resize.cubic_uint8(levels, scale)
    assert quick[0].equal(slow) and quick[1].equal(slow) and quick[0].is_contiguous()


def by_fractions(levels: list[list[int]], scale: Fraction) -> list[list[int]]:
    """MATLAB's imresize of 8 bits said once more, from Keys' formula and in exact numbers: no rounding but its own."""

    def keys(distance: Fraction) -> Fraction:
        d = abs(distance)
        if d <= 1:
            return Fraction(3, 2) * d**3 - Fraction(5, 2) * d**2 + 1
        return -Fraction(1, 2) * d**3 + Fraction(5, 2) * d**2 - 4 * d + 2 if d <= 2 else Fraction(0)

    def line(row: list[int]) -> list[int]:
        found = []
        for place in range(1, math.ceil(len(row) * scale) + 1):
            centre = place / scale + (1 - 1 / scale) / 2
            near = min(scale, Fraction(1))
            reach = range(math.floor(centre - 2 / near), math.ceil(centre + 2 / near) + 1)
            weights = {source: keys(near * (centre - source)) for source in reach}
            value = sum(weight * row[min(max(source, 1), len(row)) - 1] for source, weight in weights.items())
            found.append(min(max(math.floor(value / sum(weights.values()) + Fraction(1, 2)), 0), 255))
        return found

    columns = [line(list(column)) for column in zip(*levels, strict=True)]
    return [line(list(row)) for row in zip(*columns, strict=True)]


@pytest.mark.parametrize("scale", [Fraction(1, 2), Fraction(1, 3), Fraction(1, 4), Fraction(2), Fraction(3)], ids=str)
def test_eight_bits_equal_the_formula_in_exact_numbers(scale: Fraction) -> None:
    levels = torch.randint(0, 256, (1, 1, 24, 36), dtype=torch.uint8, generator=generator(2))
    made = resize.cubic_uint8(levels, int(scale) if scale > 1 else float(scale))
    assert made[0, 0].tolist() == by_fractions(levels[0, 0].tolist(), scale)


QUARTER = [987, 745, 399, 93, -49, -75, -45, -7]


@pytest.mark.parametrize(
    ("scale", "parts", "of", "first"),
    [
        (0.5, [-3, -9, 29, 111, 111, 29, -9, -3], 256, 13),
        (0.25, [*reversed(QUARTER), *QUARTER], 4096, 26),
        (2, [-3, 29, 111, -9], 128, 2),
    ],
)
def test_weights_are_matlabs(scale: float, parts: list[int], of: int, first: int) -> None:
    """Keys' cubic with a = -1/2, stretched by 1 / scale when it shrinks: output pixel 8 in whole numbers."""
    pixels = torch.eye(64, dtype=torch.float64)[None, None]
    made = resize.cubic(pixels, (1, scale))[0, 0, :, 8]
    wanted = torch.zeros(64, dtype=torch.float64)
    wanted[first : first + len(parts)] = torch.tensor(parts, dtype=torch.float64) / of
    assert float((made - wanted).abs().max()) < 1e-15


@pytest.mark.parametrize(
    ("image", "way"),
    [
        *product(("even", "odd", "p64"), (("down2", 0.5), ("down4", 0.25))),
        *product(("even", "odd"), (("up2", 2), ("up4", 4))),
    ],
)
def test_float_resizing_equals_the_reference(image: str, way: tuple[str, float]) -> None:
    kind, scale = way
    stored = reference("mzsr_imresize")
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

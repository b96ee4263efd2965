"""Reductions as kernels under direct decimation give what the reductions themselves give."""

import numpy as np
import pytest
import torch
from PIL import Image

from srfoundry.core.seeds import generator
from srfoundry.degradation import conventions, kernels, operator
from srfoundry.degradation.reductions import antialiasing, combined, sized
from srfoundry.imaging import images, resize


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_they_are_what_made_the_image_small(scale: int) -> None:
    high = 0.3 + 0.4 * torch.rand(1, 3, 24 * scale, 24 * scale, generator=generator(1, "reduced"))
    inner = (..., slice(6, -6), slice(6, -6))
    made = operator.degrade(high, antialiasing("bicubic", scale), scale)
    assert (made - resize.cubic(high, 1 / scale))[inner].abs().max() < 1e-5
    blur = kernels.gaussian(9, torch.tensor([2.0]), torch.tensor([1.0]), torch.tensor([0.4]))
    at_once = operator.degrade(high, combined(blur, "bicubic", scale), scale)
    one_by_one = operator.degrade(high, blur, scale, decimation="bicubic")
    assert (at_once - one_by_one)[inner].abs().max() < 1e-4
    picture = Image.fromarray(images.to_uint8(high)[0].numpy())
    for how, theirs in (("area", Image.Resampling.BOX), ("lanczos", Image.Resampling.LANCZOS)):
        wanted = torch.from_numpy(np.array(picture.resize((24, 24), theirs)))[None]
        got = operator.degrade(images.from_uint8(images.to_uint8(high)), antialiasing(how, scale), scale)
        assert (got - images.from_uint8(wanted))[inner].abs().max() < 2 / 255


def test_the_shift_is_inside_of_the_taps() -> None:
    for scale in (2, 3, 4):
        kernel = sized(antialiasing("area", scale), 31)
        middle = (kernel.shape[-1] - 1) / 2
        moved = conventions.centre_of_mass(kernel) - middle
        assert torch.allclose(moved, torch.full_like(moved, (scale - 1) / 2), atol=1e-5)
        assert kernel.sum() == pytest.approx(1, abs=1e-5)

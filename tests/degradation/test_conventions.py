"""The programs' conventions are theirs, and converting a kernel between them changes no pixel of the image."""

import itertools

import numpy as np
import pytest
import torch
from scipy import ndimage

from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.degradation import conventions, kernels, operator
from srfoundry.imaging import images
from srfoundry.imaging.patches import crop_to_multiple
from tests.conftest import golden

NAMES: list[conventions.Name] = ["mzsr", "dkp", "usrnet", "kernelgan"]


def rand(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=generator(0, *shape))


@pytest.mark.parametrize(("source", "target"), list(itertools.product(NAMES, NAMES)))
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("size", [8, 9])
def test_a_converted_kernel_gives_the_same_image(
    source: conventions.Name, target: conventions.Name, scale: int, size: int
) -> None:
    x, kernel = rand(1, 3, 48, 72), kernels.normalise(rand(1, size, size))
    before = operator.degrade(x, kernel, scale, convention=source, border="circular")
    other = conventions.convert(kernel, source, target, scale)
    after = operator.degrade(x, other, scale, convention=target, border="circular")
    assert float((before - after).abs().max()) < 1e-14


@pytest.mark.parametrize(("source", "target"), list(itertools.permutations(NAMES, 2)))
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_a_blur_is_moved_to_where_the_target_expects_it(
    source: conventions.Name, target: conventions.Name, scale: int
) -> None:
    """Against the closed form, evaluated at the target's centre: no sub-pixel error, no change of shape."""
    first, second, theta = (torch.tensor([value], dtype=torch.float64) for value in (5.0, 2.0, 0.6))
    at = {name: conventions.CONVENTIONS[name].centre(31, scale) - 15 for name in (source, target)}
    angle = {name: theta for name in at}  # a Gaussian looks the same flipped
    kernel = kernels.gaussian(31, first, second, angle[source], offset=at[source])
    moved = conventions.convert(kernel, source, target, scale, keep="blur")
    exact = kernels.gaussian(moved.shape[-1], first, second, angle[target], offset=at[target])
    assert float((moved - exact).abs().max()) < 1e-7
    place = float(conventions.centre_of_mass(moved)[0, 0])
    assert place == pytest.approx(conventions.CONVENTIONS[target].centre(moved.shape[-1], scale), abs=1e-4)


def test_moving_there_and_back_is_exact() -> None:
    kernel = kernels.normalise(rand(4, 9, 9))
    way = rand(4, 2) * 3 - 1.5
    back = conventions.move(conventions.move(kernel, way), -way)
    rim = (back.shape[-1] - 9) // 2
    # half of the ringing leaves the first enlargement; what comes back differs by that alone
    assert float((back[:, rim:-rim, rim:-rim] - kernel).abs().max()) < 2e-3
    whole = conventions.move(kernel, torch.full((4, 2), 2.0, dtype=torch.float64))
    rim = (whole.shape[-1] - 9) // 2
    assert float((whole[:, rim + 2 : rim + 11, rim + 2 : rim + 11] - kernel).abs().max()) < 1e-15


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_a_low_pixel_looks_where_the_convention_says(name: conventions.Name, scale: int) -> None:
    """A spot at a known place: its centre on the low grid, times s, plus the phase, is that place."""
    convention = conventions.CONVENTIONS[name]
    # wide enough for the low grid to hold it, which at x8 sees every eighth pixel
    variance = torch.full((1,), max(2.0 * scale, scale**2 / 2), dtype=torch.float64)
    size = 31 if scale < 8 else 47
    kernel = kernels.gaussian(size, variance, variance, 0 * variance, offset=convention.centre(size, scale) - size // 2)
    spot = torch.zeros(1, 1, 120, 120, dtype=torch.float64)
    spot[..., 61, 58] = 1.0
    low = operator.degrade(spot, kernel, scale, convention=name)
    found = conventions.centre_of_mass(low[:, 0])[0] * scale + convention.phase(scale)
    assert found.tolist() == pytest.approx([61.0, 58.0], abs=0.02)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_dkp_reduces_as_its_program_does(scale: int) -> None:
    """Written out pixel by pixel from the program: correlation, borders that wrap, pixels 0, s, 2s, 8 bits cut off."""
    size, high = 4 * scale + 3, rand(1, 3, 13 * scale, 11 * scale)
    values = (torch.tensor([value], dtype=torch.float64) for value in (0.9 * scale, 0.3 * scale, 0.7))
    kernel = kernels.gaussian(size, *values, offset=-(scale - 1) / 2)
    x, k = high[0].numpy(), kernel[0].numpy()
    wanted = np.zeros((3, 13, 11))
    for row, column in itertools.product(range(13), range(11)):
        for i, j in itertools.product(range(size), range(size)):
            pixel = x[:, (scale * row + i - size // 2) % x.shape[1], (scale * column + j - size // 2) % x.shape[2]]
            wanted[:, row, column] += k[i, j] * pixel
    made = operator.degrade(high, kernel, scale, convention="dkp")
    assert float((made[0] - torch.from_numpy(wanted)).abs().max()) < 1e-12
    levels = images.to_uint8(made, truncate=conventions.CONVENTIONS["dkp"].truncates)[0].numpy()
    assert np.array_equal(levels, (wanted * 255).astype(np.uint8).transpose(1, 2, 0))


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_dkps_recipe_puts_kernels_there(scale: int) -> None:
    """A Gaussian about K // 2 + (s - K mod 2) / 2, moved by a cubic spline until its centre of mass is (K - s) / 2."""
    size = min(4 * scale + 3, 21)
    axis = np.arange(size) - (size // 2 + (scale - size % 2) / 2)
    drawn = np.exp(-(axis[:, None] ** 2) / (2 * 0.3 * scale) - axis[None] ** 2 / (2 * 0.6 * scale))
    wanted = (size - scale) / 2
    drawn = ndimage.shift(drawn, wanted - np.array(ndimage.center_of_mass(drawn)))
    found = conventions.centre_of_mass(torch.from_numpy(drawn))
    assert found.tolist() == pytest.approx([conventions.CONVENTIONS["dkp"].centre(size, scale)] * 2, abs=0.06)
    assert wanted == conventions.CONVENTIONS["dkp"].centre(size, scale)


def test_the_published_kernels_are_where_dkp_puts_them() -> None:
    stored = np.load(golden("golden/blind/inputs_set5_and_c128.npz"))
    for key in [key for key in stored.files if "/k/" in key]:
        scale, kernel = int(key.split("/")[1][1]), torch.from_numpy(stored[key])
        wanted = conventions.CONVENTIONS["dkp"].centre(kernel.shape[-1], scale)
        assert wanted == (kernel.shape[-1] - scale) / 2
        assert conventions.centre_of_mass(kernel).tolist() == pytest.approx([wanted] * 2, abs=0.06)


def test_remakes_dkps_low_resolution_images() -> None:
    """All 30 pairs. Their 8 bits were truncated; a flat region's value may lie on either side of a whole number."""
    stored = np.load(golden("golden/blind/inputs_set5_and_c128.npz"))
    for key in [key for key in stored.files if "/lr/" in key]:
        group, factor, _, name = key.split("/")
        high = torch.from_numpy(stored[f"{group}/HR/{name}"]).permute(2, 0, 1)[None].double() / 255
        kernel, scale = torch.from_numpy(stored[f"{group}/{factor}/k/{name}"])[None], int(factor[1])
        low = operator.degrade(crop_to_multiple(high, scale), kernel, scale, convention="dkp")
        levels = images.to_uint8(low, truncate=conventions.CONVENTIONS["dkp"].truncates)[0].numpy()
        error = np.square(levels.astype(float) - stored[key]).mean()
        assert error == 0 or 10 * np.log10(255**2 / error) > 60, key
        assert np.abs(levels.astype(int) - stored[key]).max() <= 1


def test_an_unknown_convention_is_said() -> None:
    with pytest.raises(FoundryError, match="choose one of mzsr, dkp"):
        conventions.get("matlab")

"""The linear enlargement: constants stay, slopes are not shifted, a known blur is undone better than by bicubic."""

import pytest
import torch

from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels, linear_enlargement, operator
from srfoundry.imaging import images, metrics

WAYS: list[operator.Decimation] = ["direct", "bicubic"]


def blur(count: int = 1, scale: int = 2) -> torch.Tensor:
    return kernels.draw_gaussian(count, size=2 * scale + 11, scale=scale, rng=generator(1, "blur"))[0]


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("way", WAYS)
def test_constants_stay_and_slopes_have_no_shift(scale: int, way: operator.Decimation) -> None:
    """Half a pixel of a wrong phase would move a slope of 1 / (24 s) a pixel by more than what is allowed."""
    kernel, rim = blur(scale=scale), 8 * scale
    flat = torch.full((1, 3, 16 * scale, 16 * scale), 0.3)
    slope = torch.linspace(0, 1, 24 * scale).expand(1, 3, 24 * scale, -1)
    for image, border in ((slope, rim), (slope.mT, rim), (flat, 0)):
        low = operator.degrade(image.contiguous(), kernel, scale, decimation=way)
        high = linear_enlargement.enlarge(low, kernel, scale, how="linear", decimation=way)
        assert high.shape == image.shape
        extent = image.shape[-1]
        inside = (high - image)[..., border : extent - border, border : extent - border]
        assert float(inside.abs().max()) < (1e-3 if border else 1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_a_known_blur_is_undone(way: operator.Decimation) -> None:
    photograph = next(path for path in images.bundled() if path.stem == "astronaut")
    high = images.read(photograph)[..., :192, 100:292]
    kernel = blur()
    low = operator.degrade(high, kernel, 2, decimation=way)
    gained = {
        how: metrics.psnr_y(linear_enlargement.enlarge(low, kernel, 2, how=how, decimation=way).clamp(0, 1), high, 2)
        for how in ("linear", "bicubic")
    }
    assert gained["linear"] > gained["bicubic"] + 2
    wrong = kernels.gaussian(15, *(torch.tensor([value]) for value in (5.0, 5.0, 0.0)))
    off = linear_enlargement.enlarge(low, wrong, 2, how="linear", decimation=way).clamp(0, 1)
    assert metrics.psnr_y(off, high, 2) < gained["linear"] - 0.5, "the kernel does not matter"


def test_a_kernel_for_each_image_equals_one_by_one() -> None:
    low, bank = torch.rand(4, 3, 12, 14, generator=generator(3)), blur(4)
    found = linear_enlargement.filters(bank, 2)
    together = linear_enlargement.linear(low, found)
    alone = torch.cat([linear_enlargement.linear(low[i : i + 1], found[i : i + 1]) for i in range(4)])
    assert float((together - alone).abs().max()) < 1e-5
    shared = linear_enlargement.linear(low, found[:2])
    assert float((shared[:2] - linear_enlargement.linear(low[:2], found[:1])).abs().max()) < 1e-5


def test_no_kernel_means_matlabs_bicubic() -> None:
    low = torch.rand(1, 3, 16, 16, generator=generator(3))
    assert linear_enlargement.enlarge(low, None, 3, how="linear").shape == (1, 3, 48, 48)
    spike = torch.zeros(1, 3, 3)
    spike[:, 1, 1] = 1
    same = linear_enlargement.enlarge(low, spike, 3, how="linear", decimation="bicubic")
    assert float((same - linear_enlargement.enlarge(low, None, 3, how="linear")).abs().max()) < 1e-4


def test_what_is_no_kernel_is_said() -> None:
    with pytest.raises(FoundryError, match="sum to 1"):
        linear_enlargement.filters(torch.ones(1, 3, 3), 2)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("way", WAYS)
def test_filters_are_the_least_squares_estimate(scale: int, way: operator.Decimation) -> None:
    """Against the formula x = R D' (D R D' + v)^-1 y with the matrices written out, for an oblique kernel."""
    kernel, extent = kernels.gaussian(5, *(torch.tensor([v]).double() for v in (2.0, 0.5, 0.4))), 16 * scale
    spots = torch.eye(extent**2, dtype=torch.float64).view(-1, 1, extent, extent)
    seen = operator.degrade(spots, kernel, scale, decimation=way)[:, 0]
    near = slice(8 - linear_enlargement.RADIUS, 8 + linear_enlargement.RADIUS + 1)
    model = seen[:, near, near].flatten(1).T
    assert float((model.sum(1) - 1).abs().max()) < 1e-6, "the kernel leaves the image"
    axis = torch.arange(extent, dtype=torch.float64)
    place = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1).view(-1, 2)
    moments = linear_enlargement.LEVEL - torch.cdist(place, place)
    wanted = [(8 * scale + row) * extent + 8 * scale + column for row in range(scale) for column in range(scale)]
    both = model @ moments @ model.T + linear_enlargement.NOISE * torch.eye(len(model), dtype=torch.float64)
    right = torch.linalg.solve(both, model @ moments[:, wanted]).T
    made = linear_enlargement.filters(kernel, scale, decimation=way)[0].flatten(1)
    assert float((made - right / right.sum(1, keepdim=True)).abs().max()) < 1e-4

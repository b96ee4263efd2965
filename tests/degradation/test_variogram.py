"""The variogram's filters are the least-squares estimate, written out."""

import pytest
import torch

from srfoundry.degradation import kernels, operator, variogram

WAYS: list[operator.Decimation] = ["direct", "bicubic"]


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("way", WAYS)
def test_filters_are_the_least_squares_estimate(scale: int, way: operator.Decimation) -> None:
    """Against the formula x = R D' (D R D' + v)^-1 y with the matrices written out, for an oblique kernel."""
    kernel, extent = kernels.gaussian(5, *(torch.tensor([v]).double() for v in (2.0, 0.5, 0.4))), 16 * scale
    spots = torch.eye(extent**2, dtype=torch.float64).view(-1, 1, extent, extent)
    seen = operator.degrade(spots, kernel, scale, decimation=way)[:, 0]
    near = slice(8 - variogram.RADIUS, 8 + variogram.RADIUS + 1)
    model = seen[:, near, near].flatten(1).T
    assert float((model.sum(1) - 1).abs().max()) < 1e-6, "the kernel leaves the image"
    axis = torch.arange(extent, dtype=torch.float64)
    place = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1).view(-1, 2)
    moments = variogram.LEVEL - torch.cdist(place, place)
    wanted = [(8 * scale + row) * extent + 8 * scale + column for row in range(scale) for column in range(scale)]
    both = model @ moments @ model.T + variogram.NOISE * torch.eye(len(model), dtype=torch.float64)
    right = torch.linalg.solve(both, model @ moments[:, wanted]).T
    made = variogram.Moments.of(kernel, scale, decimation=way).filters()[0].flatten(1)
    assert float((made - right / right.sum(1, keepdim=True)).abs().max()) < 1e-4


def test_noise_is_a_share_of_the_differences() -> None:
    """A noise of the ratio r is r times half the mean square of the differences of two neighbours, seen through D."""
    kernel = kernels.gaussian(5, *(torch.tensor([v]).double() for v in (2.0, 0.5, 0.4)))
    moments = variogram.Moments.of(kernel, 2)
    middle, side = moments.both.shape[-1] // 2, 2 * variogram.RADIUS + 1
    both = moments.both[0]
    differs = both[middle, middle] - (both[middle, middle + 1] + both[middle, middle + side]) / 2
    assert float(moments.step - differs) == pytest.approx(0, abs=1e-9)
    noisy = moments.both + (variogram.NOISE + 0.7 * differs) * torch.eye(side**2, dtype=torch.float64)
    right = torch.linalg.solve(noisy, moments.cross.mT).mT[0]
    made = moments.filters(0.7)[0].flatten(1)
    assert float((made - right / right.sum(1, keepdim=True)).abs().max()) < 1e-5
    assert moments.filters(torch.tensor([0.0, 0.7])).shape == (2, 4, side, side)


def test_one_kernel_again_and_again_is_the_same_and_may_be_learned_through() -> None:
    """What was first asked for without gradients serves those who need them; another kernel is another one."""
    one, other = (kernels.gaussian(5, *(torch.tensor([v]).double() for v in (width, 0.5, 0.4))) for width in (2.0, 2.1))
    with torch.inference_mode():
        first = variogram.Moments.of(one, 2)
    both = variogram.Moments.of(torch.cat([one, other]), 2)
    for index, kernel in enumerate((one, other, one)):
        found = variogram.Moments.of(kernel, 2)
        torch.testing.assert_close(found.both[0], both.both[index % 2])
        torch.testing.assert_close(found.cross[0], both.cross[index % 2])
    assert not first.both.is_inference()

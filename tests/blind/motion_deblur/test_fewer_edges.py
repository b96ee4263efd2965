"""The descent through a restorer: towards fewer edges in its image, on the simplex, the same each time."""

from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional

from srfoundry.blind.motion_deblur.estimation import estimate_by_edges
from srfoundry.blind.motion_deblur.fewer_edges import FINE, towards_fewer_edges
from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels
from srfoundry.degradation.operator import degrade
from srfoundry.networks.nonblind.usrnet import PeriodicObservation
from tests.blind_cases import observed, tiny
from tests.nonblind import tiny_usrnet

SIZE = 9


class Linear(nn.Module):
    """The data step from the nearest enlargement: exact under the kernel, and it rings behind a wrong one."""

    def forward(self, low: torch.Tensor, kernel: torch.Tensor, scale: int, noise: float) -> torch.Tensor:
        seen = PeriodicObservation(low, kernel, scale)
        return seen.data_step(functional.interpolate(low, scale_factor=scale), torch.full((1, 1, 1, 1), 0.01))


def line(length: float) -> torch.Tensor:
    return kernels.line(SIZE, torch.tensor([length]), torch.tensor([0.3])).float()


def squares() -> torch.Tensor:
    """Bright squares on grey, with wrapped borders."""
    places = torch.rand(40, 2, generator=generator(1, "squares")).mul(56).long().tolist()
    image = torch.full((1, 3, 64, 64), 0.5)
    for index, (row, column) in enumerate(places):
        image[..., row : row + 8, column : column + 8] = (index % 5) / 4
    return image


def edges(low: torch.Tensor, kernel: torch.Tensor) -> float:
    grey = Linear()(low, kernel, 2, 0.0).mean(dim=1)
    down, right = (grey.roll(-1, axis) - grey for axis in (-2, -1))
    return float(((down.square() + right.square()) / FINE**2).log1p().mean())


def test_descends_to_an_image_of_fewer_edges_and_stays_a_kernel() -> None:
    low = degrade(squares(), line(5.0), 2, border="circular")
    start = line(8.0)
    found = towards_fewer_edges(Linear(), low, start, 2, noise=0.0)
    assert found.shape == start.shape and float(found.min()) >= 0 and abs(float(found.sum()) - 1) < 1e-5
    assert edges(low, found) < edges(low, start)


def test_works_under_inference_mode_and_leaves_no_gradient_behind() -> None:
    low, net = degrade(squares(), line(5.0), 2, border="circular"), Linear()
    with torch.inference_mode():
        found = towards_fewer_edges(net, low, line(8.0), 2, noise=0.0)
    assert not found.requires_grad and found.equal(towards_fewer_edges(net, low, line(8.0), 2, noise=0.0))


def test_pixels_without_weight_do_not_count() -> None:
    low = degrade(squares(), line(5.0), 2, border="circular")
    nothing = towards_fewer_edges(Linear(), low, line(8.0), 2, noise=0.0, weight=torch.zeros(1, 1, 32, 32))
    start = towards_fewer_edges(Linear(), low, line(8.0), 2, noise=0.0, steps=0)
    assert torch.allclose(nothing, start)


def test_a_descent_that_ends_in_no_number_returns_the_beginning() -> None:
    class Broken(Linear):
        def forward(self, low: torch.Tensor, kernel: torch.Tensor, scale: int, noise: float) -> torch.Tensor:
            return super().forward(low, kernel, scale, noise) * torch.nan

    low = degrade(squares(), line(5.0), 2, border="circular")
    assert towards_fewer_edges(Broken(), low, line(8.0), 2, noise=0.0).equal(line(8.0))


def test_by_edges_the_kernel_moves_where_there_is_a_network() -> None:
    low = degrade(squares().tile(1, 1, 2, 2), line(5.0), 2, border="circular")
    alone, moved = (
        estimate_by_edges(
            observed(low, 2, "circular", 0.0), tiny(), net=net, rng=generator(1, "rng"), log=lambda step, row: None
        ).kernel
        for net in (None, tiny_usrnet())
    )
    assert not moved.equal(alone) and abs(float(moved.sum()) - 1) < 1e-5


def test_the_window_of_a_descent_has_room_for_wide_kernels() -> None:
    settings = tiny()
    settings = replace(
        settings,
        prior=replace(settings.prior, kernel_size=41),
        windows=replace(settings.windows, look=128),
    )
    low = degrade(squares().tile(1, 1, 2, 2), line(5.0), 1, border="circular")
    found = estimate_by_edges(
        observed(low, 1, "reflect", 0.0),
        settings,
        net=tiny_usrnet(),
        rng=generator(1, "rng"),
        log=lambda step, row: None,
    )
    assert found.kernel.shape == (1, 41, 41)

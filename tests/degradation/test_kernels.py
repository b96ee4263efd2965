"""Kernels follow MZSR's formula, sum to 1, and what is none is refused."""

import math

import numpy as np
import pytest
import torch

from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.degradation import conventions, kernel_families, kernels
from tests.conftest import reference


def one(size: int, first: float, second: float, theta: float) -> torch.Tensor:
    values = (torch.tensor([value], dtype=torch.float64) for value in (first, second, theta))
    return kernels.gaussian(size, *values)


def test_formula_equals_the_reference() -> None:
    stored = reference("mzsr_kernels")
    for index, (size, theta, first, second) in enumerate(stored["specs"]):
        made = one(int(size), first, second, theta)[0].numpy()
        assert np.abs(made - stored[f"k{index}"]).max() < 1e-12


def test_published_centres() -> None:
    assert float(one(15, 2, 2, 0)[0, 7, 7]) == pytest.approx(0.0795774818, abs=1e-10)
    assert float(one(15, 4, 1, -0.5)[0, 7, 7]) == pytest.approx(0.0795798634, abs=1e-10)


def test_moments_are_the_given_variances() -> None:
    kernel = one(31, 4.0, 1.5, 0.0)[0]
    axis = torch.arange(31, dtype=torch.float64) - 15
    assert float((kernel.sum(0) * axis**2).sum()) == pytest.approx(4.0, abs=1e-3)  # first axis: columns
    assert float((kernel.sum(1) * axis**2).sum()) == pytest.approx(1.5, abs=1e-3)


def test_samples_are_of_the_distribution() -> None:
    bank, drawn = kernels.draw_gaussian(500, size=15, scale=2, rng=generator(1, "test"))
    theta, first, second = drawn["theta"], drawn["variance1"], drawn["variance2"]
    assert bool(((theta >= 0) & (theta < math.pi) & (first <= 5) & (second >= 1) & (second <= first)).all())
    assert float((bank.sum((1, 2)) - 1).abs().max()) < 1e-5 and float(bank.min()) >= 0
    assert float(first.mean()) == pytest.approx(3.0, abs=0.2)
    again, _ = kernels.draw_gaussian(500, size=15, scale=2, rng=generator(1, "test"))
    assert bank.equal(again)


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (torch.full((4, 4), 1 / 16), "odd"),
        (torch.full((3, 5), 1 / 15), "square"),
        (torch.full((3, 3), 0.1), "sum to 1, got 0.9"),
        (torch.full((3, 3), torch.nan), "NaN"),
    ],
)
def test_what_is_no_kernel_is_refused(kernel: torch.Tensor, said: str) -> None:
    with pytest.raises(FoundryError, match=said):
        kernels.check(kernel)


@pytest.mark.parametrize("family", kernel_families.FAMILIES)
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_every_family_is_centred_positive_and_drawn_from_the_seed_alone(family: str, scale: int) -> None:
    bank, values = kernel_families.draw(family, 200, size=21, scale=scale, rng=generator(1, family))
    again, _ = kernel_families.draw(family, 200, size=21, scale=scale, rng=generator(1, family))
    kernels.check(bank)
    assert bank.equal(again) and float(bank.min()) >= 0 and all(len(column) == 200 for column in values.values())
    away = (conventions.centre_of_mass(bank.double()) - 10).abs().max()
    assert float(away) < (0.15 if family == "noisy" else 1e-6)  # cut ringing moves a noisy kernel a little
    assert float((bank[0] - bank[1]).abs().max()) > 0.01 * float(bank[0].max())


def test_noise_multiplies_each_tap() -> None:
    """DIV2KRK's recipe: within the level of a Gaussian, and no two kernels alike."""
    bank, values = kernels.draw_noisy(50, size=21, scale=2, rng=generator(1), level=0.4)
    still, _ = kernels.draw_noisy(50, size=21, scale=2, rng=generator(1), level=0.0)
    clean = kernels.gaussian(21, values["variance1"], values["variance2"], values["theta"])
    assert float((still - clean).abs().max()) < 1e-6
    heavy = clean > 0.02
    ratio = (bank.double() / clean)[heavy]
    assert float(ratio.std()) > 0.1 and 0.3 < float(ratio.min()) and float(ratio.max()) < 2.0


def test_a_line_has_its_length_and_angle() -> None:
    kernel = kernels.line(31, torch.tensor([12.0], dtype=torch.float64), torch.tensor([0.0], dtype=torch.float64))[0]
    axis = torch.arange(31, dtype=torch.float64) - 15
    assert float(kernel[15].sum()) == pytest.approx(1.0)
    # variance of a uniform line, and of the bilinear spread of its points
    assert float((kernel.sum(0) * axis**2).sum()) == pytest.approx(12.0**2 / 12, abs=0.3)
    upright = kernels.line(31, torch.tensor([12.0]), torch.tensor([math.pi / 2]))[0]
    assert float((upright.T - kernel).abs().max()) < 1e-5


def test_a_path_keeps_its_centre_and_stays_inside() -> None:
    path = torch.tensor([[[0.25, -3.5], [0.75, 1.5], [90.0, 0.0]]], dtype=torch.float64)
    kernel = kernels.splat(9, path[:, :2])
    assert conventions.centre_of_mass(kernel)[0].tolist() == pytest.approx([4.5, 3.0])
    kernels.check(kernels.splat(9, path))


def test_a_disc_has_its_radius_and_reaches_no_farther() -> None:
    kernel = kernels.disc(11, torch.tensor([3.0]))[0]
    kernels.check(kernel)
    assert kernel.equal(kernel.T) and kernel.equal(kernel.flip(0)) and not kernel[:2].any()
    assert 1 / float(kernel[5, 5]) == pytest.approx(math.pi * 3**2, rel=0.02)
    assert kernels.disc(25, torch.tensor([3.0]))[0, 7:18, 7:18].equal(kernel)


def test_motion_takes_the_places_below_one() -> None:
    still = torch.zeros(4, 21, 21)
    drawn = kernels.with_motion(
        still.clone(), torch.tensor([0.2, 1.0, 0.7, torch.inf]), lines=0.5, scale=2, rng=generator(1)
    )
    rng = generator(1)
    assert drawn[0].equal(kernels.draw_line(1, size=21, scale=2, rng=rng)[0][0])
    assert drawn[2].equal(kernels.draw_trajectory(1, size=21, scale=2, rng=rng)[0][0])
    assert drawn[[1, 3]].equal(still[:2])

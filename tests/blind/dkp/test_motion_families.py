"""Families of kernels beyond Gaussians, and both ways of drawing them so that they adapt to a likelihood."""

import math

import pytest
import torch

from srfoundry.blind.dkp import motion_families
from srfoundry.blind.dkp.families import Family, GaussianPrior
from srfoundry.blind.dkp.mcmc import Chains
from srfoundry.blind.dkp.sampling import Population
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels
from srfoundry.degradation.conventions import centre_of_mass

SIZE = 15


def a_bank() -> torch.Tensor:
    rng = generator(1, "bank")
    return torch.cat(
        [kernels.draw_line(6, size=SIZE, scale=2, rng=rng)[0], kernels.draw_gaussian(6, size=SIZE, scale=2, rng=rng)[0]]
    )


def families() -> dict[str, Family]:
    return {
        "line": motion_families.lines(SIZE, 2.0, 12.0),
        "disc": motion_families.discs(SIZE, 1.0, 5.0),
        "trajectory": motion_families.trajectories(SIZE),
        "bank": motion_families.bank(a_bank()),
        "gaussian": GaussianPrior(SIZE, 0.35, 5.0),
    }


@pytest.mark.parametrize("name", ["line", "disc", "trajectory", "bank", "gaussian"])
def test_kernels_are_kernels(name: str) -> None:
    family = families()[name]
    shapes = family.sample(200, rng=generator(2, name))
    assert shapes.shape == (200, family.dim) and bool(family.log_density(shapes).isfinite().all())
    made = family.kernels(shapes)
    assert made.shape == (200, SIZE, SIZE) and float(made.min()) >= 0
    torch.testing.assert_close(made.sum(dim=(1, 2)), torch.ones(200, dtype=made.dtype))
    # A turned entry of a bank is drawn between its taps; the others are centred by construction.
    assert float((centre_of_mass(made) - SIZE // 2).abs().max()) < (0.3 if name == "bank" else 0.02)
    assert torch.equal(family.mean(), family.mean())


@pytest.mark.parametrize("name", ["line", "disc", "trajectory", "bank"])
def test_density_is_that_of_the_draws(name: str) -> None:
    family = families()[name]
    shapes = family.sample(20_000, rng=generator(3, name))
    entropy = 0.5 * family.dim * math.log(2 * math.pi * math.e)
    assert float(-family.log_density(shapes).mean()) == pytest.approx(entropy, rel=0.02)


@pytest.mark.parametrize("name", ["line", "disc", "trajectory", "gaussian"])
def test_a_shape_learns(name: str) -> None:
    """A kernel's slope with respect to its shape is that of finite differences."""
    family = families()[name]
    shape = family.clip(0.5 * family.sample(1, rng=generator(4, name)) + 0.1).requires_grad_()
    axis = torch.arange(SIZE, dtype=torch.float64) - SIZE // 2
    moment = torch.einsum("nrc,r->n", family.kernels(shape), axis.square() + 0.3 * axis).sum()
    (slope,) = torch.autograd.grad(moment, shape)
    step = 1e-6 * torch.ones_like(shape)
    with torch.no_grad():
        up, down = (
            torch.einsum("nrc,r->n", family.kernels(shape + way * step), axis.square() + 0.3 * axis) for way in (1, -1)
        )
    assert float((slope * step).sum() * 2) == pytest.approx(float((up - down).sum()), rel=1e-3)
    assert float(slope.abs().sum()) > 1e-3


def test_lines_and_trajectories_differ_in_extent() -> None:
    axis = torch.arange(SIZE, dtype=torch.float64) - SIZE // 2
    line = motion_families.lines(SIZE, 2.0, 12.0)
    made = line.kernels(torch.tensor([[-3.0, 1.0, 0.0], [3.0, 1.0, 0.0], [3.0, -1.0, 0.0]], dtype=torch.float64))
    spread = torch.einsum("nrc,c->n", made, axis**2), torch.einsum("nrc,r->n", made, axis**2)
    assert float(spread[0][0]) < 1 < 10 < float(spread[0][1])  # 2 and 12 pixels along the row
    assert float(spread[1][1]) < 0.1 and float(spread[1][2]) > 10  # the angle is half of the direction's: 90 degrees
    backwards = torch.randn(1, 11, generator=generator(5, "path"), dtype=torch.float64)
    forwards = backwards.clone()
    forwards[:, 1:] *= torch.tensor([-1.0, 1.0, -1.0, 1.0, -1.0] * 2)
    paths = motion_families.trajectories(SIZE)
    torch.testing.assert_close(paths.kernels(backwards), paths.kernels(forwards))


def test_bank_gives_its_own_kernels() -> None:
    entries = a_bank()
    family = motion_families.bank(entries)
    shapes = torch.zeros(12, 3, dtype=torch.float64)
    quantiles = (torch.arange(12, dtype=torch.float64) + 0.5) / 12
    shapes[:, 0] = math.sqrt(2) * torch.erfinv(2 * quantiles - 1)
    found = family.kernels(shapes)
    away = (found[:, None] - kernels.centred(entries.double())[None]).abs().amax(dim=(2, 3))
    assert float(away.min(dim=1).values.max()) < 1e-5 and len(set(away.argmin(dim=1).tolist())) == 12


@pytest.mark.parametrize("kind", [Population, Chains])
@pytest.mark.parametrize("name", ["line", "disc", "gaussian"])
def test_draws_go_where_the_likelihood_is(kind: type[Population] | type[Chains], name: str) -> None:
    family, rng = families()[name], generator(6, name)
    true = family.kernels(family.clip(torch.tensor([[0.6, 0.4, 0.9]], dtype=torch.float64)[:, : family.dim]))

    def score(made: torch.Tensor) -> torch.Tensor:
        return -0.5 * (made - true).square().sum(dim=(1, 2)) / 3e-3**2

    sampler = kind(family)
    k_hat, first = family.mean(), 0.0
    for turn in range(25):
        shapes = sampler.draw(96, rng=rng)
        k_hat = sampler.weigh(shapes, score(family.kernels(shapes)), temperature=1.0, least=20.0)
        first = first if turn else float((k_hat - true).square().mean())
    assert sampler.temperature == pytest.approx(1.0) and sampler.effective() > 10
    assert float((k_hat - true).square().mean()) < 0.02 * first


def test_chains_keep_their_target() -> None:
    """With a flat likelihood, walkers stay draws of the prior."""
    family, rng = motion_families.lines(SIZE, 2.0, 12.0), generator(7, "flat")
    chains = Chains(family)
    for _ in range(8):
        shapes = chains.draw(2000, rng=rng)
        chains.weigh(shapes, torch.zeros(2000, dtype=torch.float64), temperature=1.0, least=20.0)
    torch.testing.assert_close(chains.walkers.mean(dim=0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=0.08)
    torch.testing.assert_close(chains.walkers.T.cov(), torch.eye(3, dtype=torch.float64), rtol=0, atol=0.12)


def test_rescoring_follows_a_likelihood_that_changes() -> None:
    family, rng = motion_families.lines(SIZE, 2.0, 12.0), generator(8, "changes")
    for sampler in (Population(family), Chains(family)):
        shapes = sampler.draw(16, rng=rng)
        sampler.weigh(shapes, torch.zeros(16, dtype=torch.float64), temperature=1.0, least=4.0)
        sampler.rescore(lambda made: made.amax(dim=(1, 2)))
        assert torch.equal(sampler.scores, family.kernels(shapes).amax(dim=(1, 2)))


def test_nonsense_is_refused() -> None:
    with pytest.raises(FoundryError, match="size 14"):
        motion_families.lines(14, 2.0, 8.0)
    with pytest.raises(FoundryError, match="lengths 9"):
        motion_families.lines(15, 9.0, 8.0)
    with pytest.raises(FoundryError, match="0 modes"):
        motion_families.trajectories(15, modes=0)
    with pytest.raises(FoundryError, match="bank must sum to 1"):
        motion_families.bank(torch.ones(2, 5, 5))

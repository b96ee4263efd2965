"""Kernels of a family by random kernel sampling alone."""

from typing import Literal

import pytest
import torch

from srfoundry.blind.dkp.motion_families import discs, lines
from srfoundry.blind.dkp.sampled import EARLY, ROUNDS, SIZE, estimate_in_family
from srfoundry.blind.dkp.sampling import Population, RandomKernels
from srfoundry.blind.estimate import BlindObservation
from srfoundry.core.seeds import generator
from srfoundry.core.state import silent
from srfoundry.degradation.observation import Sampling
from srfoundry.degradation.operator import degrade
from srfoundry.imaging.images import from_uint8, to_uint8
from tests.blind_cases import power_law, tiny


@pytest.mark.parametrize("name", ["line", "disc"])
def test_a_line_and_a_disc_are_found(name: Literal["line", "disc"]) -> None:
    family = lines(SIZE, 2.0, 20.0) if name == "line" else discs(SIZE, 1.0, 5.0)
    true = family.kernels(torch.tensor([[0.4, 0.5, 0.9]], dtype=torch.float64)[:, : family.dim]).float()
    low = from_uint8(to_uint8(degrade(power_law(256, 1), true, 2)))
    found = estimate_in_family(
        BlindObservation(low, Sampling(2)), tiny(method="dkp"), name, rng=generator(1), log=silent
    )
    assert found.kernel.shape == true.shape and len(found.history) == ROUNDS[name]
    hopeless = estimate_in_family(
        BlindObservation(low, Sampling(2)),
        tiny(method="dkp"),
        name,
        promising=lambda rough: False,
        rng=generator(1),
        log=silent,
    )
    assert hopeless.history == found.history[:EARLY]
    assert float((found.kernel - true).norm() / true.norm()) < 0.35
    assert float((family.mean().float() - true).norm() / true.norm()) > 0.5


def test_of_a_likelihood_with_two_peaks_the_best_kernel_is_taken_and_not_their_mean() -> None:
    family, settings = lines(SIZE, 2.0, 20.0), tiny(method="dkp")
    shapes = torch.tensor([[0.4, 1.0, 0.0], [0.4, -1.0, 0.0]], dtype=torch.float64)
    along, across = family.kernels(shapes).float().split(1)
    low = from_uint8(to_uint8(degrade(power_law(256, 1), along, 2)))
    random = RandomKernels(BlindObservation(low, Sampling(2)), family, settings, rng=generator(1))
    random.population = Population(family)
    assert random.spectral is not None
    random.population.shapes, random.population.scores = shapes, random.spectral(torch.cat([along, across])).double()
    assert torch.equal(random.better((along + across) / 2), along)
    assert torch.equal(random.better(along), along)

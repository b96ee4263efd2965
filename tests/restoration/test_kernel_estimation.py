"""Kernels as programs ask for them: where they lie when a person says how the images were reduced."""

from typing import Any

import pytest
import torch

from srfoundry.blind import estimators
from srfoundry.blind.estimate import Estimate, Estimator, Networks, Resources
from srfoundry.core.compute import Compute
from srfoundry.core.seeds import Stream
from srfoundry.degradation import conventions, kernels
from srfoundry.degradation.observation import Sampling
from srfoundry.networks.nonblind.corrector import Corrector
from srfoundry.restoration.kernel_estimation import KernelEstimation
from tests.blind_cases import tiny
from tests.closed import CPU
from tests.nonblind import data_steps

LOW = torch.rand(1, 3, 40, 40)
BLUR = kernels.gaussian(15, *(torch.tensor([value]) for value in (3.0, 2.0, 0.4))).float()


def found(observation: Any, *_: Any, **__: Any) -> Estimate:
    """One kernel for all, and what was asked."""
    return Estimate(BLUR, None, (0, 0, 40, 40), [{observation.sampling.decimation: 1.0}])


@pytest.mark.parametrize(
    ("trained", "decimation", "under", "moved"),
    [
        (True, None, "direct", 0.0),
        (True, "direct", "direct", 0.0),
        (True, "bicubic", "direct", 0.5),  # its antialiasing is part of the blur, around the centres of blocks
        (False, "bicubic", "bicubic", 0.0),
    ],
)
def test_trained_methods_find_antialiasing_as_part_of_the_blur(
    monkeypatch: pytest.MonkeyPatch, trained: bool, decimation: Any, under: str, moved: float
) -> None:
    made = Estimator(found, lambda _: 1, lambda *_: 15, trained)
    monkeypatch.setattr(estimators, "find", lambda _: made)
    resources = Resources(Networks(data_steps(), Corrector(), Compute(CPU)))
    plain = KernelEstimation(tiny(method="fast"), Sampling(2), resources, Stream(1, "test"), CPU)
    ready = plain.under(decimation)
    seen = ready.estimate(LOW, "a")
    assert ready.sampling.decimation == under and seen.history == [{under: 1.0}]
    place = conventions.centre_of_mass(seen.kernel) - 7
    assert torch.allclose(place, torch.full_like(place, moved), atol=0.02)
    assert ready.under(None).sampling.decimation == "direct"

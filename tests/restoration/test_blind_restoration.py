"""What is in doubt is restored by the mean over what may have made it."""

import torch

from srfoundry.blind.decision import Candidates
from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels, linear_enlargement
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.imaging import resize
from srfoundry.restoration.blind_restoration import _averaged, _milder


def test_the_mean_over_candidates_is_milder_than_the_strongest() -> None:
    low = torch.rand(1, 3, 20, 24, generator=generator(1, "low"))
    two = torch.tensor([0.4, 3.0])
    both = kernels.gaussian(15, two, two, torch.zeros(2))
    seen = Observation(low, both[1:], Sampling(2))

    def image(*chances: float) -> torch.Tensor:
        return _averaged(seen, Candidates(both, torch.tensor(chances)), 0.01).image

    sure = linear_enlargement.fitted(low, both[1:], 2, noise=0.01)(low).clamp(0, 1)
    assert torch.allclose(image(0.0, 1.0), sure, atol=1e-5)
    slopes = [float(image(*each).diff(dim=-1).abs().mean()) for each in ((1.0, 0.0), (0.5, 0.5), (0.0, 1.0))]
    assert slopes[0] < slopes[1] < slopes[2]


def test_of_a_jpeg_file_it_is_half_cubic_interpolation_on_the_same_grid() -> None:
    low = torch.rand(1, 3, 12, 16, generator=generator(2, "packed"))
    for phase in (0.0, 0.375, 0.5):
        found = _milder(lambda each: torch.zeros(1, 3, 24, 32), low, scale=2, phase=phase)
        assert torch.allclose(found, resize.cubic_at(low, 2, phase) / 2)

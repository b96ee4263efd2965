"""What is in doubt is restored by the mean over what may have made it."""

import torch

from srfoundry.blind.decision import Candidates
from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels, linear_enlargement
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.restoration.blind_restoration import _averaged


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

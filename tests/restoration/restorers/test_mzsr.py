"""MZSR's network in the command line: tiles agree with the whole, and large images are adapted to by busy windows."""

import pytest
import torch

from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels, linear_enlargement
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.imaging import tiling
from srfoundry.networks.adaptive.mzsr import MZSR
from srfoundry.restoration.blind_restoration import check_consistency
from srfoundry.restoration.restorers import mzsr
from srfoundry.zero_shot.adapted_restoration import adapt_and_restore
from srfoundry.zero_shot.recipe import Recipe
from srfoundry.zero_shot.restoration import overlap


@pytest.mark.parametrize("enlargement", ["bicubic", "linear"])
def test_blind_adaptation_runs_in_tiles_as_on_the_whole(enlargement: linear_enlargement.How) -> None:
    net = MZSR(width=8, depth=3, enlargement=enlargement)
    low = torch.rand(1, 3, 70, 130, generator=generator(0, "blind"))
    kernel = kernels.gaussian(9, torch.tensor([2.0]), torch.tensor([1.0]), torch.zeros(1))
    observation = Observation(low, kernel, Sampling(2))
    tiled, whole = (
        adapt_and_restore(net, observation, Recipe([0.01]), tile=tile, device=torch.device("cpu"))[0]
        for tile in (66, 256)
    )
    # 2e-4: pixels at a tile's own border see MATLAB's bicubic mirror there, within its overlap they do not count
    assert float((tiled - whole).abs().max()) < 2e-4
    explains = [check_consistency(image, observation).consistency for image in (tiled, whole)]
    assert explains[0] == pytest.approx(explains[1], abs=0.01)
    assert tiling.count(70, 130, 66, overlap(net, 66)) > 1


def test_an_image_leaves_the_loaded_network_as_it_was() -> None:
    net = MZSR(width=8, depth=3)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    low = torch.rand(1, 3, 24, 24, generator=generator(1, "low"))
    kernel = kernels.gaussian(9, torch.tensor([2.0]), torch.tensor([1.0]), torch.zeros(1)).float()
    restorer = mzsr.MzsrRestorer(2, net, Recipe([0.01, 0.01]), torch.device("cpu"))
    observation = Observation(low, kernel, Sampling(2))
    first, second = (restorer.restore(observation, "photo") for _ in range(2))
    assert torch.equal(first.image, second.image) and first.how == "2 steps"
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())

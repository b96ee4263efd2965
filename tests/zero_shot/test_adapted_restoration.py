"""Adaptation to an image of any size: by the busy windows of a large one, in `evaluate` as in the program."""

import torch

from srfoundry.core.seeds import generator, redraw
from srfoundry.degradation import kernels
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.networks.adaptive.mzsr import MZSR
from srfoundry.networks.sr.drn import DRN
from srfoundry.networks.zoo.family import NETS
from srfoundry.restoration.restorers.mzsr import MzsrRestorer
from srfoundry.restoration.restorers.restorer import TILE
from srfoundry.zero_shot import adapted_restoration
from srfoundry.zero_shot.adapted_restoration import adaptation_windows
from srfoundry.zero_shot.recipe import Recipe
from srfoundry.zero_shot.trials import trials
from tests.closed import CPU


def test_a_large_image_adapts_on_its_busiest_windows() -> None:
    low = torch.full((1, 3, 96, 160), 0.5)
    low[..., 48:80, 96:128] = torch.rand(1, 3, 32, 32, generator=generator(0, "busy"))
    low[..., 0:32, 0:32] = low[..., 48:80, 96:128] * 0.8
    seen = adaptation_windows(low, 64)
    assert seen.shape == (4, 3, 32, 32) and seen[0].equal(low[0, :, 48:80, 96:128])
    assert seen[1].equal(low[0, :, :32, :32])
    assert adaptation_windows(low[..., :60, :60], 64).shape == (1, 3, 60, 60)
    assert adaptation_windows(low[..., :20, :], 64).shape == (4, 3, 20, 32)


def test_evaluate_and_the_program_restore_a_large_image_alike() -> None:
    net = MZSR(width=4, depth=3)
    redraw(net, generator(1, "net"))
    low = torch.zeros(1, 3, 40, adapted_restoration.ADAPT + 8)
    low[..., -60:] = torch.rand(1, 3, 40, 60, generator=generator(2, "busy"))  # the top left corner teaches nothing
    true = kernels.gaussian(7, torch.tensor([2.0]), torch.tensor([1.0]), torch.zeros(1)).float()
    observation, recipe = Observation(low, true, Sampling(2)), Recipe([0.01, 0.01])
    nets = dict.fromkeys(NETS, DRN(scale=2, blocks=1, width=4).eval()) | dict.fromkeys(("pretrain", "metatrain"), net)
    found = dict(trials(nets, {"true": observation}, recipe=recipe, tile=TILE))
    assert found["mzsr2_true"].equal(MzsrRestorer(2, net, recipe, CPU).restore(observation, "photo").image)
    assert not found["mzsr2_true"].equal(found["mzsr0_true"])

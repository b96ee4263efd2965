"""Adaptation to an image of any size: by the busy windows of a large one, in `evaluate` as in the program."""

from dataclasses import replace

import torch

from srfoundry.core.seeds import generator, redraw
from srfoundry.degradation import kernels
from srfoundry.degradation.kernel_width import move_width
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.degradation.operator import degrade
from srfoundry.evaluation.trials import trials
from srfoundry.networks.adaptive.mzsr import MZSR
from srfoundry.networks.sr.drn import DRN
from srfoundry.networks.zoo.family import NETS
from srfoundry.restoration.restorers.mzsr import MzsrRestorer
from srfoundry.restoration.restorers.restorer import TILE
from srfoundry.zero_shot import adapted_restoration
from srfoundry.zero_shot.adapted_restoration import adapt_and_restore, adaptation_windows
from srfoundry.zero_shot.recipe import Recipe
from tests.blind_cases import power_law
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


def test_an_uncertain_kernel_moves_before_the_first_step() -> None:
    net = MZSR(width=4, depth=3, enlargement="linear")
    redraw(net, generator(1, "net"))
    true, given = (
        kernels.gaussian(15, torch.tensor([each]), torch.tensor([each]), torch.zeros(1)).float() for each in (2.0, 2.5)
    )
    low = degrade(power_law(128, 1), true, 2).clamp(0, 1)
    certain = Observation(low, given, Sampling(2))
    uncertain = replace(certain, kernel_error=0.25)

    def run(observation: Observation, rates: list[float]) -> tuple[torch.Tensor, float]:
        image, found = adapt_and_restore(net, observation, Recipe(rates), tile=TILE, device=CPU)
        return image, found.widened

    assert run(uncertain, [])[0].equal(run(certain, [])[0])  # without a step it is the net itself
    assert run(certain, [0.01])[1] == 1
    image, factor = run(uncertain, [0.01])
    assert factor < 0.97
    moved = replace(certain, kernel=move_width(uncertain).observation.kernel)
    assert image.equal(run(moved, [0.01])[0])
    said = MzsrRestorer(2, net, Recipe([0.01]), CPU).restore(uncertain, "photo").how
    assert f"the kernel's variances times {factor:.2f}" in said

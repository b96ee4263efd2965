"""What is restored under a kernel that may be wrong is fused with milder restorations of it, in luminance alone."""

from dataclasses import replace
from pathlib import Path

import torch

from srfoundry.blind.decision import Candidates, Decision
from srfoundry.blind.estimate import Networks, Resources
from srfoundry.config.params import load
from srfoundry.core.compute import Compute
from srfoundry.core.seeds import Stream, generator
from srfoundry.degradation import kernels
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.networks.nonblind.corrector import Corrector
from srfoundry.networks.nonblind.fusion import KNOWN, VIEWS, Fusion, start_plain
from srfoundry.restoration.blind_restoration import Restoration, _restored
from srfoundry.restoration.fusion import TRUSTED, fused, known_of, light, views
from srfoundry.restoration.kernel_estimation import KernelEstimation
from srfoundry.restoration.restorers.restorer import RestoreOptions, no_ticker
from srfoundry.restoration.restorers.usrnet import UsrnetRestorer
from tests.closed import CPU
from tests.nonblind import data_steps
from tests.shipped import SHIPPED

KERNEL = kernels.gaussian(9, torch.tensor([2.0]), torch.tensor([2.0]), torch.zeros(1)).float()
SETTINGS = load(SHIPPED).estimate.settings
DECISION = Decision(restore=True, seen="blur", chance=1.0, phase=0.0, noise=0.01)
SEEN = Observation(torch.rand(1, 3, 20, 24, generator=generator(1, "low")) / 20 + 0.5, KERNEL, Sampling(2))


def images() -> tuple[torch.Tensor, torch.Tensor]:
    given, restored = torch.rand(2, 1, 3, 40, 48, generator=generator(1, "images")).mul(0.5).add(0.25)
    return given, restored


def fusion(share: float = 0.0) -> Fusion:
    """One that takes this share of the restorer's image."""
    net = Fusion(scales=(2,), widths=(4, 4, 4))
    start_plain(net)
    with torch.no_grad():
        bias = net.unet.tails["views"].bias
        assert isinstance(bias, torch.Tensor)
        bias[0] = share
    return net.eval()


def test_views_are_luminance_and_the_linear_ones_get_milder() -> None:
    given, restored = images()
    every = views(SEEN, DECISION, given, restored)
    assert every.shape == (1, VIEWS, 40, 48) and torch.equal(every[:, :1], light(given))
    slopes = every.diff(dim=-1).abs().mean(dim=(0, 2, 3))
    assert slopes[2] > slopes[3]
    known = known_of(every, DECISION, 2)
    assert known.shape == (1, KNOWN) and known.isfinite().all()
    doubtful = known_of(every, replace(DECISION, chance=0.5), 2)
    assert (doubtful > known).tolist() == [[number == 2 for number in range(KNOWN)]]


def test_what_is_added_to_the_luminance_is_added_to_each_colour() -> None:
    given, restored = images()
    assert torch.allclose(fused(fusion(), SEEN, DECISION, given, restored), given, atol=1e-6)
    half = fused(fusion(0.5), SEEN, DECISION, given, restored)
    apart = half - given
    assert torch.allclose(apart, apart[:, :1].expand_as(apart), atol=1e-5)
    assert torch.allclose(light(half), torch.lerp(light(given), light(restored), 0.5 * TRUSTED), atol=1e-5)


def restoration(net: Fusion | None, *, force: bool = False) -> Restoration:
    networks = Networks(data_steps(), Corrector(width=8), Compute(CPU), fusion=net)
    estimation = KernelEstimation(SETTINGS, Sampling(2), Resources(networks), Stream(1, "t"), CPU)
    options = RestoreOptions(Path("m"), Path("p"), force=force)
    return Restoration(options, UsrnetRestorer(2, networks.restorer), Sampling(2), None, estimation)


def test_a_mean_that_counts_alone_is_fused_with_the_restorers_image() -> None:
    alone = replace(DECISION, candidates=Candidates(KERNEL, torch.ones(1)))
    made = [_restored(SEEN, alone, "a", restoration(net), no_ticker) for net in (None, fusion(), fusion(1.0))]
    restored = restoration(None).restorer.restore(SEEN, "a").image
    assert torch.allclose(made[1].image, made[0].image, atol=1e-6) and "fused" in made[1].how
    assert torch.allclose(light(made[2].image), torch.lerp(light(made[0].image), light(restored), TRUSTED), atol=1e-4)


def test_what_nothing_milder_is_beside_is_left_alone() -> None:
    made = _restored(SEEN, DECISION, "a", restoration(fusion(1.0)), no_ticker)
    assert "fused" not in made.how and torch.equal(made.image, restoration(None).restorer.restore(SEEN, "a").image)


def test_what_may_be_a_thumbnail_is_not_fused() -> None:
    doubtful = replace(DECISION, chance=0.9, candidates=Candidates(KERNEL, torch.ones(1), weight=0.5))
    made = [
        _restored(SEEN, each, "a", restoration(fusion()), no_ticker).how
        for each in (doubtful, replace(doubtful, chance=1.0))
    ]
    assert "fused" not in made[0] and "fused" in made[1]


def test_by_force_nothing_is_fused() -> None:
    assert restoration(fusion()).fusion is not None and restoration(fusion(), force=True).fusion is None

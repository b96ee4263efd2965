"""ZSSR: learns an image from itself, the same each time; turned copies are turned back in place."""

import copy

import numpy as np
import pytest
import torch

from srfoundry.core.errors import FoundryError
from srfoundry.degradation import kernels, linear_enlargement, operator
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.imaging import resize
from srfoundry.networks.adaptive.mzsr import MZSR
from srfoundry.zero_shot import zssr
from srfoundry.zero_shot.restoration import restore


def photograph(size: int = 64) -> torch.Tensor:
    y, x = np.mgrid[0:size, 0:size] / 4
    waves = [0.5 + 0.4 * np.sin(1.3 * x + c) * np.cos(y - c) for c in range(3)]
    return torch.from_numpy(np.stack(waves)).float()[None]


def gaussian(first: float = 2.0, second: float = 2.0, theta: float = 0.0) -> torch.Tensor:
    return kernels.gaussian(9, torch.tensor([first]), torch.tensor([second]), torch.tensor([theta]))


def observed(
    low: torch.Tensor, kernel: torch.Tensor | None = None, decimation: operator.Decimation = "direct"
) -> Observation:
    return Observation(low, gaussian() if kernel is None else kernel, Sampling(2, decimation))


def test_training_lowers_the_loss_repeats_and_leaves_the_net_alone() -> None:
    net = MZSR(width=8, depth=3)
    before = copy.deepcopy(net.state_dict())
    low = operator.degrade(photograph(), gaussian(), 2).clamp(0, 1)
    runs = [zssr.train(net, observed(low), steps=120, seed=seed, crop=24) for seed in (1, 1, 2)]
    assert runs[0].step == len(runs[0].losses) == 120 and not runs[0].diverged
    assert sum(runs[0].losses[-5:]) < 0.7 * sum(runs[0].losses[:5])
    assert runs[0].losses == runs[1].losses != runs[2].losses
    assert all(value.equal(runs[1].weights[name]) for name, value in runs[0].weights.items())
    assert all(value.equal(before[name]) for name, value in net.state_dict().items())


def test_untrained_it_is_its_input() -> None:
    net, low = MZSR(width=8, depth=3), operator.degrade(photograph(), gaussian(), 2).clamp(0, 1)
    weights = zssr.train(net, observed(low), steps=0).weights
    restored = restore(net, observed(low), weights=weights)
    torch.testing.assert_close(restored, resize.cubic(low, 2).clamp(0, 1))


def test_the_loss_stands_still_or_does_not() -> None:
    noise = np.random.default_rng(0).normal(0, 1e-3, zssr.LOOK_BACK)
    falling = np.linspace(0.1, 0.05, zssr.LOOK_BACK)
    level = 0.1 + noise + noise[::-1]
    assert zssr.stands_still(list(level)) and not zssr.stands_still(list(falling + noise))
    assert not zssr.stands_still([0.1] * 5)


@pytest.mark.parametrize("decimation", ["direct", "bicubic"])
@pytest.mark.parametrize(("kernel", "alike"), [(gaussian(), 8), (gaussian(3.0, 1.0), 4), (gaussian(3.0, 1.0, 0.4), 2)])
def test_turned_copies_lie_where_the_image_lies(
    monkeypatch: pytest.MonkeyPatch, decimation: operator.Decimation, kernel: torch.Tensor, alike: int
) -> None:
    """A linear filter that treats all symmetries alike gives the same image from each copy: nothing is shifted."""
    net = MZSR(width=4, depth=3)
    net.enlargement = "linear"
    for value in net.parameters():
        torch.nn.init.zeros_(value)
    low = operator.degrade(photograph(), kernel, 2, decimation=decimation).clamp(0, 1)
    seen: list[torch.Tensor] = []
    back = zssr._back
    monkeypatch.setattr(zssr, "_back", lambda *given: seen.append(back(*given)) or seen[-1])
    together = zssr.ensemble(net, observed(low, kernel, decimation))
    plain = linear_enlargement.enlarge(low, kernel, 2, how="linear", decimation=decimation).clamp(0, 1)
    assert len(seen) == alike
    inside = (..., slice(16, -16), slice(16, -16))  # the borders' mirrors differ
    assert max(float((copy - plain)[inside].abs().max()) for copy in seen) < 0.02  # a pixel is 0.1
    assert float((together - plain)[inside].abs().max()) < 0.02  # a pixel is 0.1


def test_the_ensemble_closes_what_it_gives() -> None:
    net, low = MZSR(width=4, depth=3), operator.degrade(photograph(), gaussian(), 2).clamp(0, 1)
    weights = zssr.train(net, observed(low), steps=0).weights
    errors = []
    for close in (0, 4):
        image = zssr.ensemble(net, observed(low), weights=weights, close=close)
        errors.append(float((operator.degrade(image, gaussian(), 2) - low).abs().mean()))
    assert errors[1] < errors[0] / 2


def test_a_tiny_image_is_refused() -> None:
    with pytest.raises(FoundryError, match="too small"):
        zssr.train(MZSR(width=4, depth=3), observed(torch.rand(1, 3, 12, 40)), steps=1)

"""The rules by which the learned kernel moves: none waits for the device."""

import pytest
import torch

from srfoundry.blind.dkp.families import family_of
from srfoundry.blind.dkp.image_network import LearnedImage
from srfoundry.blind.dkp.kernel_network import GatheredSteps, LangevinSteps, LearnedKernel, SampledSteps
from srfoundry.blind.dkp.losses import ssim_loss
from srfoundry.blind.estimate import as_numbers
from srfoundry.core.seeds import generator
from srfoundry.degradation.operator import degrade
from tests.blind_cases import power_law, tiny


def test_inner_steps_do_not_wait_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """No number is read from a tensor in image or kernel steps; once an outer iteration is enough."""
    seen = power_law(24, 1)
    data = lambda kernel, made: ssim_loss(degrade(made, kernel, 2), seen)  # noqa: E731
    settings = tiny(kernel_steps=2, langevin=1e-3)
    net = LearnedImage(seen, 2, data, settings.image, rng=generator(1, "wait"))
    family = family_of(settings.prior, 2)
    learned = LearnedKernel(family, settings.kernel, rng=generator(1, "wait"), device=seen.device)
    langevin, sampled, gathered = LangevinSteps(learned, data), SampledSteps(learned), GatheredSteps(learned)
    target = family.mean().float()

    def refuse(*_: object) -> None:
        raise AssertionError("a tensor was read")

    with monkeypatch.context() as patched:
        for name in ("__float__", "__bool__", "tolist", "cpu", "numpy"):
            patched.setattr(torch.Tensor, name, refuse)
        losses = net.improve(target, 2)
        losses |= langevin.improve(target, net(), 0.5)
        losses |= sampled.improve(target, 0.5) | gathered.improve(data(learned(), net()), 0.5)
    row = as_numbers(losses, 0)
    assert set(row) == {"image", "prior", "data"} and all(isinstance(value, float) for value in row.values())

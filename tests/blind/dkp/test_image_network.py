"""The learned image: its fading prior, its arithmetic, and small images."""

import pytest
import torch

from srfoundry.blind.dkp.image_network import LearnedImage
from srfoundry.blind.dkp.losses import ssim_loss
from srfoundry.core.seeds import generator
from srfoundry.degradation.operator import degrade
from tests.blind_cases import kernel, low, power_law, run_dkp, tiny


def test_the_image_prior_fades_with_the_residual() -> None:
    image = power_law(24, 1)
    tap = kernel(1.0, 1.0, 0.0)
    data = lambda kernel, made: ssim_loss(degrade(made, kernel, 2), image)  # noqa: E731
    net = LearnedImage(image, 2, data, tiny(fade=True).image, rng=generator(1, "fade"))
    net.improve(tap, 1, torch.tensor(0.04))
    loss, same = net.improve(tap, 1, torch.tensor(0.0))["image"], data(tap, net())
    assert float(loss) == pytest.approx(float(same), rel=0.2)  # nothing but the data term, a step apart
    assert float(net.residual) == 0.0


def test_bfloat16_is_of_the_image_network_alone() -> None:
    image = low(kernel(2.0, 2.0, 0.0))
    plain, half = (run_dkp(image, bfloat16=on, iterations=2) for on in (False, True))
    assert half.restored is not None and plain.restored is not None and half.restored.dtype == torch.float32
    assert not torch.equal(half.restored, plain.restored)
    assert float((half.restored - plain.restored).abs().mean()) < 0.05
    assert half.kernel.dtype == torch.float32


def test_small_images_have_fewer_levels() -> None:
    found = run_dkp(low(kernel(2.0, 2.0, 0.0))[..., :9, :11], levels=6, iterations=1)
    assert found.restored is not None and found.restored.shape == (1, 3, 18, 22)

"""What restoration would make worse is seen in the image: thumbnails, no blur, noise; blurs are let pass."""

import pytest
import torch
from torch import Tensor

from srfoundry.blind import guard
from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels, operator
from srfoundry.degradation.observation import Sampling
from srfoundry.imaging import images, resize

DIRECT = Sampling(2)


def photograph(name: str) -> Tensor:
    """The middle of a bundled photograph that trains, 256 pixels a side."""
    path = next(each for each in images.bundled() if each.stem == name)
    image = images.read(path)
    top, left = ((extent - 256) // 2 for extent in image.shape[-2:])
    return image[..., top : top + 256, left : left + 256]


def eight_bit(image: Tensor) -> Tensor:
    return images.from_uint8(images.to_uint8(image))


def blurred(high: Tensor, first: float, second: float) -> Tensor:
    one, other, angle = (torch.tensor([value]) for value in (first**2, second**2, 0.5))
    return eight_bit(operator.degrade(high, kernels.gaussian(15, one, other, angle), 2))


def doubt(low: Tensor, *, noise: float | None = None, uses_noise: bool = False) -> guard.Doubt | None:
    return guard.doubt(low, DIRECT, noise=noise, blind=True, uses_noise=uses_noise)


@pytest.mark.parametrize("name", ["flower", "rocket"])
def test_thumbnails_and_images_without_blur_are_left_alone(name: str) -> None:
    high = photograph(name)
    thumbnail = eight_bit(resize.cubic(high, 0.5))
    for low in (thumbnail, images.jpeg(thumbnail, 85)):
        found = doubt(low)
        assert found is not None and found.phase == 0.5
    found = doubt(eight_bit(high[..., ::2, ::2]))
    assert found is not None and found.line("--force").endswith("; --force restores it all the same")


@pytest.mark.parametrize("name", ["china", "flower", "rocket"])
def test_blurs_are_restored(name: str) -> None:
    high = photograph(name)
    for first, second in ((1.3, 1.3), (1.6, 1.6), (2.0, 2.0), (2.2, 1.0), (2.5, 2.5)):
        assert doubt(blurred(high, first, second)) is None


def test_noise_counts_where_the_restorer_is_not_told_it() -> None:
    low = blurred(photograph("rocket"), 1.6, 1.6)
    noise = torch.randn(low.shape, generator=generator(1, "noise")) / 255
    noisy = (low + 5 * noise).clamp(0, 1)
    found = doubt(noisy)
    assert found is not None and "its noise is" in found.why and found.phase == 0
    assert doubt(noisy, uses_noise=True) is None
    told = guard.doubt(noisy, DIRECT, noise=0.0, blind=False, uses_noise=False)
    assert told is None, "who says that there is none is believed"
    assert doubt((low + noise).clamp(0, 1)) is None
    assert doubt(low, noise=5 / 255) is not None


def test_a_given_kernel_and_bicubic_decimation_are_believed() -> None:
    thumbnail = eight_bit(resize.cubic(photograph("rocket"), 0.5))
    assert guard.doubt(thumbnail, DIRECT, noise=None, blind=False, uses_noise=False) is None
    assert guard.doubt(thumbnail, Sampling(2, "bicubic"), noise=None, blind=True, uses_noise=False) is None


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 40), (8, 8), (16, 16), (40, 40)])
def test_one_colour_and_tiny_images_have_nothing_to_restore(height: int, width: int) -> None:
    one_colour = torch.tensor([0.1, 0.4, 0.9])[None, :, None, None].expand(1, 3, height, width)
    found = doubt(one_colour)
    assert found is not None and found.phase == 0.5 and found.line("--force") == "it is of one colour"
    if min(height, width) < guard.LEAST:
        found = doubt(torch.rand(1, 3, height, width, generator=generator(1, "tiny")))
        assert found is not None and "--force" not in found.line("--force")


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_plain_enlargement_lies_on_its_grid(scale: int) -> None:
    high = photograph("china")[..., :192, :192]
    soft = operator.degrade(high, kernels.gaussian(25, torch.tensor([9.0]), torch.tensor([9.0]), torch.zeros(1)), 1)
    kept, averaged = soft[..., ::scale, ::scale], resize.cubic(soft, 1 / scale)
    inner = (..., slice(12, -12), slice(12, -12))
    for low, phase in ((kept, 0.0), (averaged, (scale - 1) / 2)):
        right, wrong = (
            float((resize.cubic_at(low, scale, at).clamp(0, 1) - soft)[inner].square().mean())
            for at in (phase, (scale - 1) / 2 - phase)
        )
        assert right < 0.3 * wrong
    assert (
        resize.cubic_at(kept, scale, 0.0)
        .clamp(0, 1)[inner][..., ::scale, ::scale]
        .allclose(soft[inner][..., ::scale, ::scale], atol=1e-5)
    )


def test_sharp_edges_do_not_ring_and_waves_do() -> None:
    """Both have more contrast than the plain enlargement; that of a photograph is at its edges."""
    column = torch.arange(96.0)
    plain = (0.2 + 0.6 * torch.sigmoid((column - 48) / 4)).expand(1, 3, 64, -1)
    sharp = torch.where(column < 48, 0.2, 0.8).expand(1, 3, 64, -1)
    waves = (plain + 0.12 * torch.sin(column)).clamp(0, 1)
    assert guard.ringing(plain, plain) == pytest.approx(0)
    assert guard.ringing(sharp, plain) < 0 < 2 < guard.ringing(waves, plain)
    assert guard.ringing(torch.zeros(1, 3, 64, 96), plain) == -torch.inf

"""How wrong pixels are: noise and compression together, whatever of the two an image has."""

import pytest
import torch

from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels, operator
from srfoundry.degradation.error_level import error_level, jpeg_error
from srfoundry.imaging import images


def blurred() -> torch.Tensor:
    """A photograph, blurred and decimated."""
    path = next(each for each in images.bundled() if each.stem == "astronaut")
    width = torch.tensor([2.0])
    low = operator.degrade(images.read(path), kernels.gaussian(15, width, width, torch.zeros(1)).float(), 2)
    return images.from_uint8(images.to_uint8(low))


@pytest.mark.parametrize("quality", [50, 80, 95])
def test_the_error_of_a_compression_is_known_from_the_pixels(quality: int) -> None:
    low = blurred()
    made = images.jpeg(low, quality)
    really = float((made - low).square().mean().sqrt())
    assert error_level(low) < 0.5 / 255
    assert error_level(made) == pytest.approx(jpeg_error(quality), rel=0.15)
    assert 0.6 * really < jpeg_error(quality) < 1.6 * really


def test_the_quality_of_a_file_counts_where_pixels_show_nothing() -> None:
    assert error_level(blurred(), 60) == pytest.approx(jpeg_error(60), rel=0.02)


def test_noise_and_compression_add_up() -> None:
    noisy = (blurred() + 5 / 255 * torch.randn(blurred().shape, generator=generator(1))).clamp(0, 1)
    low = images.from_uint8(images.to_uint8(noisy))
    assert 255 * error_level(low) == pytest.approx(5, abs=0.5)
    assert jpeg_error(30) > jpeg_error(60) > jpeg_error(90) > 0

"""The corrector's input: symmetric under mirroring, and energies in the bands and directions where they lie."""

import pytest
import torch

from srfoundry.core.seeds import generator
from srfoundry.networks.nonblind import corrector
from srfoundry.networks.nonblind.corrector import features_of


@pytest.mark.parametrize(("transposed", "flipped"), [(True, False), (False, True), (True, True)])
def test_features_of_a_mirrored_image_are_mirrored(transposed: bool, flipped: bool) -> None:
    rng = generator(1, "image")
    image, residual = (torch.rand(2, 3, size, size, generator=rng) for size in (64, 32))
    shape, noise = torch.tensor([[0.5, 0.2, -0.1], [0.0, -0.4, 0.9]]), torch.tensor([0.0, 0.02])

    def turn(values: torch.Tensor) -> torch.Tensor:
        values = values.transpose(-1, -2) if transposed else values
        return values.flip(-1) if flipped else values

    features, signs, order = corrector.mirrored(
        features_of(image, residual, shape, noise, 2), transposed=transposed, flipped=flipped
    )
    assert torch.allclose(
        features_of(turn(image), turn(residual), shape[:, order] * signs, noise, 2), features, atol=2e-3
    )


def test_a_wave_lies_in_the_band_of_its_direction() -> None:
    down = torch.sin(torch.arange(64.0) * 1.5).view(1, 1, -1, 1).expand(1, 3, 64, 64)  # rows change: angle pi / 2
    features = corrector.spectral_features(down, torch.zeros(1, 3, 32, 32), 2)[0]
    energy = features[: corrector.BANDS * corrector.DIRECTIONS].view(corrector.BANDS, corrector.DIRECTIONS)
    band, direction = divmod(int(energy.argmax()), corrector.DIRECTIONS)
    assert direction == corrector.DIRECTIONS // 2
    assert corrector.LOWEST < 1.5 / torch.pi < corrector.HIGHEST and 0 < band < corrector.BANDS - 1

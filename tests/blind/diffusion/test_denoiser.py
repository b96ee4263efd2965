"""The diffusion prior: every target means the same image, and tiles cover a torus of any size."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from srfoundry.blind.diffusion.denoiser import Denoiser, Target, _starts, deviations, nearest
from srfoundry.blind.diffusion.unet import own_denoiser
from srfoundry.core.seeds import generator


class Knows(nn.Module):
    """A network that knows e and x_0, and predicts what it is trained for."""

    def __init__(self, clean: Tensor, noise: Tensor, signal: Tensor, target: str) -> None:
        super().__init__()
        self.clean, self.noise, self.signal, self.target = clean, noise, signal, target

    def forward(self, noisy: Tensor, steps: Tensor) -> SimpleNamespace:
        kept = self.signal[steps].view(-1, 1, 1, 1)
        found = {"sample": self.clean, "epsilon": self.noise}.get(self.target)
        found = kept.sqrt() * self.noise - (1 - kept).sqrt() * self.clean if found is None else found
        return SimpleNamespace(sample=torch.cat([found, torch.zeros_like(found)], dim=1))  # variances behind


@pytest.mark.parametrize("target", ["epsilon", "v_prediction", "sample"])
def test_every_target_leads_to_the_same_image(target: Target) -> None:
    signal = torch.tensor([0.99, 0.5, 0.01])
    clean, noise = torch.rand(3, 3, 8, 8) * 2 - 1, torch.randn(3, 3, 8, 8)
    denoiser = Denoiser(Knows(clean, noise, signal, target), signal, target, 8)
    for step, kept in enumerate(signal):
        noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
        torch.testing.assert_close(denoiser.clean(noisy, step), clean, atol=1e-4, rtol=0)


class Local(nn.Module):
    """A network that looks at one pixel at a time: tiles cannot matter."""

    def forward(self, noisy: Tensor, steps: Tensor) -> SimpleNamespace:
        return SimpleNamespace(sample=torch.tanh(2 * noisy))


@pytest.mark.parametrize("size", [(16, 16), (40, 27), (9, 50), (3, 5)])
def test_tiles_cover_a_torus_of_any_size(size: tuple[int, int]) -> None:
    image = torch.randn(1, 3, *size)
    denoiser = Denoiser(Local(), torch.tensor([0.9, 0.1]), "sample", 16)
    for seed in range(3):
        found = denoiser.torus(image, 1, rng=generator(seed, "tiles"), batch=3)
        torch.testing.assert_close(found, torch.tanh(2 * image))


class Mean(nn.Module):
    """A network whose answer depends on the tile that it is shown."""

    def forward(self, noisy: Tensor, steps: Tensor) -> SimpleNamespace:
        return SimpleNamespace(sample=noisy.mean(dim=(1, 2, 3), keepdim=True).expand_as(noisy))


def test_tiles_are_added_in_their_order() -> None:
    """Their sum is the same to the bit however many the network sees at once."""
    image = torch.randn(1, 3, 40, 27)
    denoiser = Denoiser(Mean(), torch.tensor([0.9, 0.1]), "sample", 16)
    few, many = (denoiser.torus(image, 1, rng=generator(1, "tiles"), batch=batch) for batch in (1, 16))
    assert torch.equal(few, many) and float(few.std()) > 0
    # a torus has no place of its own: moved with the tiles' origin, the answer moves along
    origin = torch.randint(2**31, (2,), generator=generator(1, "tiles")) % torch.tensor([40, 27])
    rows, columns = (_starts(side, 16, 0) for side in (40, 27))
    moved = image.roll(tuple((-origin).tolist()), (-2, -1))
    total, weights = torch.zeros_like(moved), torch.zeros(40, 27)
    axis = torch.sin(torch.pi * (torch.arange(16) + 0.5) / 16).square() + 1e-3
    for place in ((row, column) for row in rows for column in columns):
        down, across = ((torch.arange(16) + first) % side for first, side in zip(place, (40, 27), strict=True))
        total[..., down[:, None], across] += axis[:, None] * axis * moved[..., down[:, None], across].mean()
        weights[down[:, None], across] += axis[:, None] * axis
    torch.testing.assert_close(few.roll(tuple((-origin).tolist()), (-2, -1)), total / weights)


def test_noise_levels() -> None:
    denoiser = own_denoiser(Local(), patch=16)
    assert len(denoiser.signal) == 1000 and float(denoiser.signal[0]) > 0.999 > 0.001 > float(denoiser.signal[-1])
    step = nearest(denoiser, 0.1)
    assert float(deviations(denoiser.signal[step])) == pytest.approx(0.1, rel=0.02)

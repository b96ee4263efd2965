"""Busiest windows lie where the detail is."""

import pytest
import torch

from srfoundry.core.seeds import generator
from srfoundry.imaging import windows


@pytest.mark.parametrize("energy", ["edges", "gradients"])
def test_the_busiest_window_is_found_inside_the_image(energy: windows.Energy) -> None:
    image = torch.zeros(1, 3, 200, 300)
    image[..., 100:150, 200:250] = torch.rand(1, 3, 50, 50, generator=generator(0))
    top, left, height, width = windows.busiest(image, 100, energy=energy)
    assert (height, width) == (100, 100)
    assert top <= 100 and left <= 200 and top + height >= 150 and left + width >= 250
    assert windows.busiest(image[..., :40, :60], 100, energy=energy) == (0, 0, 40, 60)


@pytest.mark.parametrize(("size", "side"), [((61, 90), 24), ((40, 40), 40), ((33, 70), 64), ((50, 31), 17)])
def test_by_gradients_it_is_that_of_all_sums(size: tuple[int, int], side: int) -> None:
    for seed in range(4):
        image = torch.rand(1, 3, *size, generator=generator(seed, "busy")) ** 4
        height, width = (min(side, extent) for extent in size)
        grey = image.mean(dim=1)[0].double()
        energy = torch.zeros_like(grey)
        energy[:-1] += grey.diff(dim=0) ** 2
        energy[:, :-1] += grey.diff(dim=1) ** 2
        places = [(top, left) for top in range(0, size[0] - height + 1, 4) for left in range(0, size[1] - width + 1, 4)]
        best = max(places, key=lambda at: float(energy[at[0] : at[0] + height, at[1] : at[1] + width].sum()))
        assert windows.busiest(image, side, energy="gradients") == (*best, height, width)
    assert windows.busiest(torch.full((1, 3, *size), 0.4), side, energy="gradients")[:2] == (0, 0)


def test_several_do_not_overlap_and_come_strongest_first() -> None:
    image = torch.zeros(1, 3, 64, 96)
    image[..., 0:16, 0:16] = torch.rand(1, 3, 16, 16, generator=generator(1))
    image[..., 32:48, 64:80] = 0.3 * torch.rand(1, 3, 16, 16, generator=generator(2))
    found = windows.by_edges(image, 16, 2)
    assert found == [(0, 0, 16, 16), (32, 64, 16, 16)]
    assert windows.crop(image, found[1]).equal(image[..., 32:48, 64:80])

"""The networks between the closed forms: what they return before and after they have been trained."""

import pytest
import torch

from srfoundry.core.seeds import generator, redraw
from srfoundry.networks.nonblind.unfolded import FITS, LAGS, SIZE, VIEWS, Unfolded, start_plain


def net() -> Unfolded:
    made = Unfolded(widths=(4, 4, 8), kernel_widths=(4, 8, 8))
    redraw(made, generator(1, "net"))
    return made


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_untrained_it_returns_what_the_closed_forms_gave(scale: int) -> None:
    rng, plain = generator(1, "views"), net()
    start_plain(plain)
    low, noise = torch.randn(2, 1, 18, 21, generator=rng), torch.zeros(2)
    views = torch.randn(2, VIEWS, 18 * scale, 21 * scale, generator=rng)
    assert torch.equal(plain.sharpened(low, views, noise, turn=0), views[:, -1:])
    assert not torch.equal(net().sharpened(low, views, noise, turn=0), views[:, -1:])


def test_kernels_are_positive_of_sum_1_and_the_first_round_is_of_its_own() -> None:
    rng = generator(1, "fits")
    fits, lags = (torch.randn(2, count, SIZE, SIZE, generator=rng) for count in (FITS, LAGS))
    before, noise = torch.rand(2, SIZE, SIZE, generator=rng), torch.zeros(2)
    first, second, third = (net().formed(fits, lags, before, noise, scale=2, turn=turn).detach() for turn in range(3))
    assert float(first.min()) >= 0
    torch.testing.assert_close(first.sum(dim=(1, 2)), torch.ones(2))
    assert torch.equal(second, third) and not torch.equal(first, second)

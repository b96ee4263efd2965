"""What fuses restorations: untrained it leaves the first view alone, and it takes images of any size."""

import pytest
import torch

from srfoundry.core.seeds import generator, redraw
from srfoundry.networks.nonblind.fusion import KNOWN, VIEWS, Fusion, start_plain


def net() -> Fusion:
    made = Fusion(scales=(2,), widths=(4, 4, 4))
    redraw(made, generator(1, "net"))
    return made


@pytest.mark.parametrize("size", [(16, 24), (15, 21)])
def test_untrained_it_returns_the_first_view(size: tuple[int, int]) -> None:
    views, known = torch.rand(2, VIEWS, *size, generator=generator(1, "views")), torch.zeros(2, KNOWN)
    moved, plain = net(), net()
    start_plain(plain)
    torch.testing.assert_close(plain(views, known), views[:, :1])
    found = moved(views, known)
    assert found.shape == views[:, :1].shape and not torch.allclose(found, views[:, :1], atol=1e-3)


def test_views_that_are_alike_are_mixed_to_the_same() -> None:
    plain, views = net(), torch.rand(1, 1, 16, 16, generator=generator(1, "views")).expand(-1, VIEWS, -1, -1)
    with torch.no_grad():
        for weight in plain.unet.tails["views"].parameters():
            weight[VIEWS - 1 :] = 0  # no change, shares alone
    torch.testing.assert_close(plain(views, torch.zeros(1, KNOWN)), views[:, :1])

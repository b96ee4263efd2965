"""An image whose levels span little is looked at as if they spanned enough; any other stays as it is."""

import pytest
import torch
from torch import Tensor

from srfoundry.blind.auto.contrast import USUAL, Contrast
from srfoundry.core.seeds import generator


def image() -> Tensor:
    levels = torch.linspace(0, 1, 40 * 50)[torch.randperm(40 * 50, generator=generator(1, "levels"))]
    return levels.view(1, 1, 40, 50).expand(-1, 3, -1, -1)


@pytest.mark.parametrize(("share", "black"), [(0.1, 0.0), (0.3, 0.6)])
def test_a_dark_or_hazy_image_comes_to_span_as_much_as_others(share: float, black: float) -> None:
    stretched = Contrast.of(black + share * image()).stretched(black + share * image())
    assert float(stretched.quantile(0.995) - stretched.quantile(0.005)) == pytest.approx(USUAL, rel=0.01)
    assert float(stretched.min()) == pytest.approx(0, abs=0.01)
    whole = stretched / stretched.max()
    assert torch.allclose(whole, (image() - 0.005).clamp_min(-0.005) / 0.995, atol=0.01)  # the same but for its levels


def test_what_spans_enough_stays_as_it_is() -> None:
    low = 0.2 + 0.6 * image()
    assert Contrast.of(low).gain == 1 and Contrast.of(low).stretched(low) is low


def test_an_even_image_is_not_stretched_without_end() -> None:
    assert Contrast.of(torch.full((1, 3, 8, 8), 0.3)).gain < 200

"""SwinIR: published sizes, any size of image, two derivatives. What it shares with EDSR is in test_network."""

import pytest
import torch

from srfoundry.core.seeds import generator
from srfoundry.networks.sr.multiplications import multiplications
from srfoundry.networks.sr.swinir import SwinIR, start_at_bicubic
from srfoundry.networks.sr.window_attention import mirrored
from tests.closed import count
from tests.sr_cases import SWINIR_CASE


@pytest.mark.parametrize(("scale", "parameters"), [(2, 910_152), (3, 918_267), (4, 929_628)])
def test_light_parameters_as_published(scale: int, parameters: int) -> None:
    with torch.device("meta"):
        assert count(SwinIR(scale=scale)) == parameters


def test_classical_parameters_as_published() -> None:
    with torch.device("meta"):
        net = SwinIR(scale=4, depths=[6] * 6, width=180, direct=False)
    assert count(net) == 11_900_199


def test_light_multiplications_as_published() -> None:
    """10.0 G at 96 x 96 in DRC's table, which rounds and leaves out no more than we do."""
    net = SwinIR(scale=4).to("meta")
    assert multiplications(net, torch.zeros(1, 3, 96, 96, device="meta")) == pytest.approx(10.0e9, rel=0.02)


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 2), (9, 16)])
def test_any_size_is_continued_by_its_mirror_image(size: tuple[int, int]) -> None:
    net = SWINIR_CASE.net()
    low = torch.rand(1, 3, *size, generator=generator(0, "low"))
    larger = mirrored(low, 4)
    assert all(side % 4 == 0 for side in larger.shape[-2:]) and larger[..., : size[0], : size[1]].equal(low)
    if min(size) > 3:
        down, across = (large - side for large, side in zip(larger.shape[-2:], size, strict=True))
        wanted = torch.cat([low, low.flip(2)[..., :down, :]], dim=2)
        assert larger.equal(torch.cat([wanted, wanted.flip(3)[..., :across]], dim=3))
    found = net(low)
    assert tuple(found.shape[-2:]) == (2 * size[0], 2 * size[1])
    # Only the last convolution sees the cut instead of the mirror image: one pixel of the input on two sides.
    torch.testing.assert_close(
        found[..., : 2 * size[0] - 2, : 2 * size[1] - 2],
        net(larger)[..., : 2 * size[0] - 2, : 2 * size[1] - 2],
        atol=1e-5,
        rtol=0,
    )


def test_drcs_published_widths_give_their_count() -> None:
    widths = [48, 64, *[48, 36] * 4, 48, 48, 36, 48, 48, 48, 36, 48, 48, 36, 48, 40, 48, 40, 48, 76, *[48, 36] * 3]
    widths += [36, 36, 48, 48, 48, 36, 48, 36, 36, 36, 48, 64, 48, 64, 48, 72]
    inner = [width // 6 if index % 2 == 0 else width for index, width in enumerate(widths)]
    with torch.device("meta"):
        assert count(SwinIR(scale=4, inner=inner)) == 631_632


def test_rejects_what_it_cannot_be() -> None:
    with pytest.raises(ValueError, match="multiple of heads"):
        SwinIR(scale=2, width=10, heads=3)
    with pytest.raises(ValueError, match="inner must list 48"):
        SwinIR(scale=2, inner=[10])
    with pytest.raises(ValueError, match="direct=True"):
        start_at_bicubic(SwinIR(scale=2, depths=[1], direct=False))


def test_it_can_be_differentiated_twice() -> None:
    net = SWINIR_CASE.net()
    low = torch.rand(1, 3, 4, 4, generator=generator(0, "low"))
    weights = list(net.parameters())
    slopes = torch.autograd.grad(net(low).square().mean(), weights, create_graph=True)
    bent = torch.autograd.grad(torch.stack([slope.square().sum() for slope in slopes]).sum(), weights)
    assert all(bool(value.isfinite().all()) for value in bent)

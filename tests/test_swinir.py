"""SwinIR: published sizes, masked and thinned attention, any size of image, and its life outside of PyTorch."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from srfoundry import checkpoint, export
from srfoundry.networks.restorer import Restorer
from srfoundry.networks.swinir import Attention, SwinIR, mirrored, start_at_bicubic
from srfoundry.networks.units import channels_last, largest, masked, multiplications, parameters_at, thin, widths_of
from srfoundry.seeds import generator, redraw
from tests.closed import count

KEYWORDS = {"depths": [2, 1], "width": 12, "heads": 3, "window": 4}


def tiny(scale: int = 2) -> SwinIR:
    net = SwinIR(scale=scale, depths=[2, 1], width=12, heads=3, window=4)
    redraw(net, generator(1, "swinir"))
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, Attention):  # position tables start at zero
                module.table.copy_(torch.randn(module.table.shape, generator=generator(1, "table")))
    return net


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


def test_it_is_a_restorer() -> None:
    net = tiny(3)
    assert isinstance(net, Restorer) and net.multiple_of == 4
    low = torch.rand(2, 3, 8, 4, generator=generator(0, "low"))
    (image,) = net.images(low)
    assert image.equal(net.paint(net.trunk(net.prepare(low))[-1], 0)) and tuple(image.shape) == (2, 3, 24, 12)


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 2), (9, 16)])
def test_any_size_is_continued_by_its_mirror_image(size: tuple[int, int]) -> None:
    net = tiny()
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


def test_masked_is_thinned_is_rebuilt() -> None:
    net, widths = tiny().double(), [2, 9, 1, 24, 4, 5]
    units = net.units()
    assert widths_of(net, units) == [4, 24] * 3
    kept = largest(net, units, widths)
    smaller = thin(net, units, kept)
    dense = widths_of(net, units)
    factors = [torch.zeros(full).double().index_fill(0, chosen, 1.0) for full, chosen in zip(dense, kept, strict=True)]
    low = torch.rand(2, 3, 8, 12, dtype=torch.float64, generator=generator(0, "low"))
    with masked(net, units, [lambda factor=factor: factor for factor in factors]):
        torch.testing.assert_close(net(low), smaller(low), atol=1e-12, rtol=0)
    again = SwinIR(scale=2, depths=[2, 1], width=12, heads=3, window=4, inner=widths).double()
    again.load_state_dict(smaller.state_dict())
    assert again(low).equal(smaller(low)) and count(again) == parameters_at(net, units, widths)


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


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_it_can_start_near_bicubic_and_still_learn_everything(scale: int) -> None:
    net = tiny(scale)
    start_at_bicubic(net)
    coarse = torch.rand(1, 3, 4, 4, generator=generator(0, "low"))
    low = functional.interpolate(coarse, size=(16, 12), mode="bicubic").clamp(0, 1)
    wanted = functional.interpolate(low, scale_factor=scale, mode="bicubic", align_corners=False)
    inner = (..., slice(2 * scale, -2 * scale), slice(2 * scale, -2 * scale))
    assert float((net(low) - wanted)[inner].detach().abs().mean()) < 0.04
    net(low).square().mean().backward()
    assert all(weight.grad is not None and bool(weight.grad.any()) for weight in net.parameters())


def test_it_can_be_differentiated_twice() -> None:
    net = tiny()
    low = torch.rand(1, 3, 4, 4, generator=generator(0, "low"))
    weights = list(net.parameters())
    slopes = torch.autograd.grad(net(low).square().mean(), weights, create_graph=True)
    bent = torch.autograd.grad(torch.stack([slope.square().sum() for slope in slopes]).sum(), weights)
    assert all(bool(value.isfinite().all()) for value in bent)


def test_it_saves_exports_and_runs_in_half_precision(tmp_path: Path) -> None:
    net = tiny().eval()
    arch = {"name": "swinir", "scale": 2, **KEYWORDS}
    checkpoint.save(tmp_path / "a.safetensors", net, arch=arch, scale=2, made_by="dual", params_hash="0" * 16)
    back, card = checkpoint.load(tmp_path / "a.safetensors")
    low = torch.rand(1, 3, 12, 8, generator=generator(0, "low"))
    assert back(low).equal(net(low)) and card.multiple_of == 4
    made = export.describe(back, card, name="swinir", opset=20, tile=64, data_hash="", metrics={})
    assert export.write(back, made, tmp_path / "swinir.onnx", sizes=[(8, 12), (24, 16), (7, 9)], tolerance=1e-4) < 1e-4
    wide = channels_last(tiny(), torch.device("cpu"))
    with torch.autocast("cpu", torch.bfloat16):
        rough = wide.paint(wide.trunk(wide.prepare(low))[0])
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, net(low), atol=0.05, rtol=0)

"""EDSR: published sizes, pruned nets, the start near bicubic, and its life outside of PyTorch."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from srfoundry import checkpoint, export
from srfoundry.networks.edsr import EDSR, start_at_bicubic
from srfoundry.networks.restorer import Restorer, interpolation_taps
from srfoundry.networks.units import channels_last, largest, masked, parameters_at, thin, widths_of
from srfoundry.seeds import generator, redraw
from tests.closed import count


def tiny(scale: int = 2, blocks: int = 2) -> EDSR:
    net = EDSR(scale=scale, blocks=blocks, width=8)
    redraw(net, generator(1, "edsr"))
    return net


@pytest.mark.parametrize(("scale", "trainable"), [(2, 1_369_859), (3, 1_554_499), (4, 1_517_571)])
def test_baseline_parameters_as_published(scale: int, trainable: int) -> None:
    net = EDSR(scale=scale)
    assert count(net) == trainable + 24, "the mean shifts are frozen"
    assert sum(weight.numel() for weight in net.parameters() if weight.requires_grad) == trainable


def test_large_parameters_as_published() -> None:
    with torch.device("meta"):
        nets = [EDSR(scale=scale, blocks=32, width=256, strength=0.1) for scale in (2, 3, 4)]
    assert [count(net) - 24 for net in nets] == [40_729_603, 43_680_003, 43_089_923]


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_it_is_a_restorer_of_any_size(scale: int) -> None:
    net = tiny(scale)
    assert isinstance(net, Restorer)
    low = torch.rand(2, 3, 5, 4, generator=generator(0, "low"))
    (image,) = net.images(low)
    assert tuple(image.shape) == (2, 3, 5 * scale, 4 * scale)
    assert image.equal(net(low)) and image.equal(net.paint(net.trunk(net.prepare(low))[-1], 0))


def test_masked_is_thinned_is_rebuilt() -> None:
    net, widths = tiny().double(), [3, 6]
    units = net.units()
    assert widths_of(net, units) == [8, 8]
    kept = largest(net, units, widths)
    smaller = thin(net, units, kept)
    factors = [torch.zeros(8, dtype=torch.float64).index_fill(0, chosen, 1.0) for chosen in kept]
    low = torch.rand(1, 3, 6, 6, dtype=torch.float64, generator=generator(0, "low"))
    with masked(net, units, [lambda factor=factor: factor for factor in factors]):
        torch.testing.assert_close(net(low), smaller(low), atol=1e-12, rtol=0)
    again = EDSR(scale=2, blocks=2, width=8, inner=widths).double()
    again.load_state_dict(smaller.state_dict())
    assert again(low).equal(smaller(low)) and count(again) == parameters_at(net, units, widths)
    with pytest.raises(ValueError, match="inner must list 2"):
        EDSR(scale=2, blocks=2, width=8, inner=[3])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_parabola_is_exact_for_parabolas(scale: int) -> None:
    """Sampled parabolas are enlarged without error, and a constant stays what it is."""
    taps = interpolation_taps(scale)
    torch.testing.assert_close(taps.sum(dim=1), torch.ones(scale, dtype=torch.float64))
    at = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale - 0.5
    samples = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(taps @ samples, at**2)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_it_can_start_near_bicubic_and_still_learn_everything(scale: int) -> None:
    net = tiny(scale)
    start_at_bicubic(net)
    coarse = torch.rand(1, 3, 4, 4, generator=generator(0, "low"))
    low = functional.interpolate(coarse, size=(16, 12), mode="bicubic").clamp(0, 1)
    wanted = functional.interpolate(low, scale_factor=scale, mode="bicubic", align_corners=False)
    inner = (..., slice(2 * scale, -2 * scale), slice(2 * scale, -2 * scale))
    assert float((net(low) - wanted)[inner].detach().abs().mean()) < 0.02
    net(low).square().mean().backward()
    assert all(w.grad is not None and bool(w.grad.any()) for w in net.parameters() if w.requires_grad)


def test_it_saves_exports_and_runs_in_half_precision(tmp_path: Path) -> None:
    net = tiny().eval()
    arch = {"name": "edsr", "scale": 2, "blocks": 2, "width": 8}
    checkpoint.save(tmp_path / "a.safetensors", net, arch=arch, scale=2, made_by="dual", params_hash="0" * 16)
    back, card = checkpoint.load(tmp_path / "a.safetensors")
    low = torch.rand(1, 3, 9, 8, generator=generator(0, "low"))
    assert back(low).equal(net(low))
    made = export.describe(back, card, name="edsr", opset=20, tile=64, data_hash="", metrics={})
    assert export.write(back, made, tmp_path / "edsr.onnx", sizes=[(7, 9), (24, 16)], tolerance=1e-4) < 1e-4
    wide = channels_last(tiny(), torch.device("cpu"))
    with torch.autocast("cpu", torch.bfloat16):
        rough = wide.paint(wide.trunk(wide.prepare(low))[0]).float()
    torch.testing.assert_close(rough, net(low), atol=0.02, rtol=0)

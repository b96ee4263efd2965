"""What EDSR, SwinIR and Conditioned share: parts, pruned nets, the start near bicubic, and life outside of PyTorch."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from srfoundry.core.compute import channels_last
from srfoundry.core.seeds import generator
from srfoundry.deployment import export
from srfoundry.deployment.settings import GraphTarget, ParityCheck
from srfoundry.networks.sr.bicubic_start import interpolation_taps
from srfoundry.networks.sr.network import SRNetwork
from srfoundry.networks.sr.prunable import largest, masked, parameters_at, thin, widths_of
from srfoundry.networks.zoo import cards
from tests.closed import count
from tests.sr_cases import CONDITIONED_CASE, EDSR_CASE, SWINIR_CASE, Case

CASES = {case.name: case for case in (EDSR_CASE, SWINIR_CASE, CONDITIONED_CASE)}
every = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@every
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_it_gives_one_image_in_parts(case: Case, scale: int) -> None:
    net, low = case.net(scale), case.low(2)
    assert isinstance(net, SRNetwork) and net.multiple_of == case.multiple_of
    (image,) = net.images(low)
    assert tuple(image.shape) == (2, 3, *(side * scale for side in case.size))
    assert image.equal(net(low)) and image.equal(net.paint(net.trunk(net.prepare(low))[-1], 0))


@every
def test_masked_is_thinned_is_rebuilt(case: Case) -> None:
    net, widths = case.net().double(), case.widths
    units = net.units()
    assert widths_of(net, units) == case.dense
    kept = largest(net, units, widths)
    smaller = thin(net, units, kept)
    factors = [
        torch.zeros(full).double().index_fill(0, chosen, 1.0) for full, chosen in zip(case.dense, kept, strict=True)
    ]
    low = case.low(2, torch.float64)
    with masked(net, units, [lambda factor=factor: factor for factor in factors]):
        torch.testing.assert_close(net(low), smaller(low), atol=1e-12, rtol=0)
    again = case.make(scale=2, inner=widths, **case.keywords).double()
    again.load_state_dict(smaller.state_dict())
    assert again(low).equal(smaller(low)) and count(again) == parameters_at(net, units, widths)
    with pytest.raises(ValueError, match=f"inner must list {len(widths)}"):
        case.make(scale=2, inner=[3], **case.keywords)


@every
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_it_can_start_near_bicubic_and_still_learn_everything(case: Case, scale: int) -> None:
    net = case.net(scale)
    case.start_at_bicubic(net)
    coarse = torch.rand(1, 3, 4, 4, generator=generator(0, "low"))
    low = functional.interpolate(coarse, size=(16, 12), mode="bicubic").clamp(0, 1)
    wanted = functional.interpolate(low, scale_factor=scale, mode="bicubic", align_corners=False)
    inner = (..., slice(2 * scale, -2 * scale), slice(2 * scale, -2 * scale))
    assert float((net(low) - wanted)[inner].detach().abs().mean()) < case.near
    net(low).square().mean().backward()
    learnt = [weight for weight in net.parameters() if weight.grad is not None and bool(weight.grad.any())]
    assert count(net) - sum(weight.numel() for weight in learnt) == case.frozen


@every
def test_it_saves_exports_and_runs_in_half_precision(case: Case, tmp_path: Path) -> None:
    net, low = case.net().eval(), case.low()
    arch = {"name": case.name, "scale": 2, **case.keywords}
    cards.save(tmp_path / "a.safetensors", net, arch=arch, scale=2, made_by="dual", params_hash="0" * 16)
    back, card = cards.load(tmp_path / "a.safetensors")
    assert back(low).equal(net(low)) and card.multiple_of == case.multiple_of
    made = export.describe(
        back,
        card,
        GraphTarget(opset=11, tile=64, tile_error=2e-3),
        pictures=[],
        name=case.name,
        data_hash="",
        metrics={},
    )
    sizes = [(8, 12), (24, 16), (7, 9)]
    assert export.write(back, made, tmp_path / "net.onnx", ParityCheck(sizes=sizes, tolerance=1e-4)).worst < 1e-4
    wide = channels_last(case.net(), torch.device("cpu"))
    with torch.autocast("cpu", torch.bfloat16):
        rough = wide.paint(wide.trunk(wide.prepare(low))[0])
    assert rough.dtype == case.paints
    torch.testing.assert_close(rough.float(), net(low), atol=case.rough, rtol=0)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_parabola_is_exact_for_parabolas(scale: int) -> None:
    """Sampled parabolas are enlarged without error, and a constant stays what it is."""
    taps = interpolation_taps(scale)
    torch.testing.assert_close(taps.sum(dim=1), torch.ones(scale, dtype=torch.float64))
    at = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale - 0.5
    samples = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(taps @ samples, at**2)

"""USRNet: an exact data step for any kernel and scale, the published weights' layout, and its training."""

from pathlib import Path

import numpy as np
import pytest
import torch

from srfoundry.core.seeds import generator, redraw
from srfoundry.degradation import conventions, kernels
from srfoundry.degradation.operator import degrade
from srfoundry.imaging import metrics
from srfoundry.networks.nonblind import usrnet
from srfoundry.networks.nonblind.usrnet import PeriodicObservation, USRNet
from srfoundry.networks.zoo import cards
from tests.conftest import golden


def kernel(size: int = 7, seed: int = 1) -> torch.Tensor:
    """No symmetry, so that a flip would show."""
    return kernels.normalise(torch.rand(1, size, size, generator=generator(seed, "kernel"), dtype=torch.float64))


def image(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(*shape, generator=generator(seed, "image"), dtype=torch.float64)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_reduction_is_that_of_degrade(scale: int) -> None:
    high = image(2, 3, 6 * scale, 5 * scale)
    low = degrade(high, kernel(), scale, border="circular")
    assert torch.allclose(PeriodicObservation(low, kernel(), scale).reduce(high), low, atol=1e-12)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_data_step_solves_its_least_squares_problem(scale: int) -> None:
    """At the minimum the gradient of |A x - y|^2 + alpha |x - z|^2 vanishes."""
    low, start = image(1, 2, 5, 4), image(1, 2, 5 * scale, 4 * scale, seed=2)
    seen, alpha = PeriodicObservation(low, kernel(), scale), torch.full((1, 1, 1, 1), 0.03, dtype=torch.float64)
    found = seen.data_step(start, alpha).requires_grad_()
    cost = (seen.reduce(found) - low).square().sum() + 0.03 * (found - start).square().sum()
    assert float(torch.autograd.grad(cost, found)[0].abs().max()) < 1e-12


def test_many_kernels_for_one_image_and_a_gradient_for_each() -> None:
    net = tiny()
    low, bank = image(1, 3, 6, 5).float(), torch.cat([kernel(seed=1), kernel(seed=2)]).float().requires_grad_()
    both = net(low, bank, 2, 0.01)
    assert both.shape == (2, 3, 12, 10)
    alone = net(low, bank[1:], 2, 0.01)
    assert torch.allclose(both[1:], alone, atol=1e-5)
    slope = torch.autograd.grad(both.square().sum(), bank)[0]
    assert bool((slope.abs().sum(dim=(1, 2)) > 0).all())


def test_a_kernel_wider_than_the_image_wraps() -> None:
    assert tiny()(image(1, 3, 4, 5).float(), kernel(15).float(), 2).shape == (1, 3, 8, 10)


def test_tiny_has_the_published_count_and_layout() -> None:
    net = USRNet()
    assert sum(weight.numel() for weight in net.parameters()) == 590_332
    again = usrnet.from_authors(authors(net))
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def authors(net: USRNet) -> dict[str, torch.Tensor]:
    """The weights under KAIR's names."""
    names = {"head": "m_head", "tail": "m_tail", "body": "m_body"}
    found = {}
    for name, value in net.state_dict().items():
        part, *rest = name.split(".")
        if part == "schedule":
            found[".".join(["h.mlp", *rest])] = value
            continue
        where = names.get(rest[0]) or f"m_{rest[0]}{int(rest[1]) + 1}"
        tail = rest[1:] if rest[0] in names else rest[2:]
        tail = ["res" if word == "body" else word for word in tail]
        found[".".join(["p", where, *tail])] = value
    return found


def test_published_weights_restore_as_published() -> None:
    net = usrnet.from_authors(torch.load(golden("weights/usrnet_tiny.pth"), weights_only=True)).eval()
    data = np.load(golden("golden/blind/inputs_set5_and_c128.npz"))
    low, high = (
        torch.from_numpy(data[f"Set5/{key}/butterfly"]).permute(2, 0, 1)[None] / 255 for key in ("x4/lr", "HR")
    )
    true = conventions.correlation(torch.from_numpy(data["Set5/x4/k/butterfly"])[None].float(), "dkp")
    with torch.inference_mode():
        found = net(low, true, 4)
    assert metrics.psnr_y(found, high, 4) == pytest.approx(28.17, abs=0.02)


def tiny() -> USRNet:
    net = USRNet(widths=[4] * 4, blocks=1, iterations=2, residual=True)
    redraw(net, generator(1, "tiny"))
    return net


def test_a_net_that_starts_plain_is_data_steps_alone() -> None:
    net = tiny()
    usrnet.start_plain(net)
    assert net.plain and not tiny().plain and not USRNet().plain
    high = torch.nn.functional.interpolate(image(1, 3, 8, 8).float(), scale_factor=4, mode="bicubic")
    blur = kernels.normalise(torch.ones(1, 3, 3))
    low = degrade(high, blur, 2, border="circular")
    alphas, _ = net.strengths(torch.zeros(1), 2)
    seen = PeriodicObservation(low, blur, 2)
    wanted = torch.nn.functional.interpolate(low, scale_factor=2, mode="nearest")
    for alpha in alphas:
        wanted = seen.data_step(wanted, alpha)
    assert torch.allclose(net(low, blur, 2), wanted, atol=1e-5)


def test_a_net_that_starts_plain_trusts_a_noisy_image_less() -> None:
    """alpha = noise^2 / SPREAD beyond what it is without noise, shared by the iterations; whatever was drawn before."""
    net = tiny()
    usrnet.start_plain(net, alphas=(1e-4, 1e-4))
    for noise in usrnet.KNOTS:
        alphas, _ = net.strengths(torch.tensor([noise]), 2)
        assert [alpha.item() for alpha in alphas] == pytest.approx(
            [1e-4 + 2 * noise**2 / usrnet.SPREAD] * 2, rel=1e-3, abs=2e-6
        )


def test_where_a_plain_net_learns_nothing_its_denoiser_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    net, low, blur = tiny(), image(1, 3, 8, 8).float(), kernels.normalise(torch.ones(1, 3, 3))
    usrnet.start_plain(net)
    net(low, blur, 2).square().mean().backward()
    tail = net.denoiser.tail.weight
    assert tail.grad is not None and tail.grad.any()
    learning = net(low, blur, 2).detach()
    monkeypatch.setattr(usrnet.ResUNet, "forward", None)
    with torch.inference_mode():
        assert torch.equal(net(low, blur, 2), learning)
    net.requires_grad_(requires_grad=False)
    assert torch.equal(net(low, blur.requires_grad_(), 2), learning)


def test_hidden_layers_in_bfloat16_move_the_image_less_than_all_layers() -> None:
    net, low, blur = tiny(), image(1, 3, 24, 24).float(), kernels.normalise(torch.ones(1, 3, 3))
    with torch.inference_mode():
        exact = net(low, blur, 2)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = net(low, blur, 2)
        net.precision = "bfloat16"
        found = net(low, blur, 2)
    assert found.dtype == torch.float32
    assert 0 < (found - exact).square().mean() < 0.5 * (rough - exact).square().mean()


def test_card_rebuilds_it(tmp_path: Path) -> None:
    net = tiny()
    arch = {"name": "usrnet", "widths": [4] * 4, "blocks": 1, "iterations": 2, "residual": True}
    cards.save(tmp_path / "net.safetensors", net, arch=arch, scale=2, made_by="nonblind", params_hash="0")
    again, _ = cards.load(tmp_path / "net.safetensors")
    low = image(1, 3, 6, 6).float()
    assert torch.equal(again(low, kernel().float(), 2), net(low, kernel().float(), 2))

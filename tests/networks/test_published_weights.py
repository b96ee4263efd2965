"""Published weights give the authors' function: random weights in their layout, their pass and ours."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from srfoundry.cli import program
from srfoundry.cli.torch_model import TorchModel
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.networks.published_weights import from_authors
from srfoundry.networks.sr.drn import DRN
from srfoundry.networks.sr.network import SRNetwork
from srfoundry.networks.sr.prunable import largest, thin, widths_of
from srfoundry.networks.zoo import cards
from srfoundry.networks.zoo.architectures import published
from tests import authors
from tests.closed import count

SWINIR: dict[str, Any] = {"scale": 2, "depths": [2, 2], "width": 12, "heads": 3, "window": 4}


def converted(weights: Any, **arch: Any) -> tuple[nn.Module, dict[str, Any]]:
    return from_authors(weights, arch)


@pytest.mark.parametrize(("scale", "blocks", "width"), [(2, 2, 8), (4, 1, 16), (8, 1, 8)])
def test_drn(scale: int, blocks: int, width: int) -> None:
    state = authors.drawn(authors.drn_layout(scale, blocks, width))
    net, arch = converted(state, name="drn", scale=scale, blocks=blocks, width=width)
    assert arch == {"name": "drn", "scale": scale, "blocks": blocks, "width": width} and isinstance(net, DRN)
    low = torch.rand(2, 3, 6, 5, generator=generator(0, "low"))
    theirs = authors.drn(state, 255 * low, scale=scale, blocks=blocks)
    for image, wanted in zip(net.images(low), theirs, strict=True):
        torch.testing.assert_close(image, wanted / 255, atol=2e-5, rtol=1e-5)


def test_dual_nets_come_as_a_list() -> None:
    states = [authors.drawn(authors.dual_layout(16), seed) for seed in (1, 2)]
    net, _ = converted(states, name="drn_duals", scale=4, width=16)
    images = [torch.rand(1, 3, side, side, generator=generator(0, side)) for side in (4, 8, 16)]
    for state, image, mapped in zip(states, images[1:], net(images), strict=True):
        hidden = torch.nn.functional.leaky_relu(authors.apply(state, "dual_module.0.0", 255 * image, 2), 0.2)
        wanted = authors.apply(state, "dual_module.1", hidden)
        torch.testing.assert_close(mapped, wanted / 255, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("scale", "strength"), [(2, 1.0), (3, 1.0), (4, 0.1)])
def test_edsr(scale: int, strength: float) -> None:
    state = authors.drawn(authors.edsr_layout(scale, 3, 8))
    net, _ = converted(state, name="edsr", scale=scale, blocks=3, width=8, strength=strength)
    low = torch.rand(2, 3, 7, 5, generator=generator(0, "low"))
    wanted = authors.edsr(state, 255 * low, scale=scale, blocks=3, strength=strength) / 255
    torch.testing.assert_close(net(low), wanted, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(("scale", "direct"), [(2, True), (3, True), (4, False)])
def test_swinir(scale: int, direct: bool) -> None:
    keywords = {**SWINIR, "scale": scale, "direct": direct}
    state = authors.drawn(authors.swinir_layout(scale, [2, 2], 12, 3, window=4, size=8, direct=direct))
    net, arch = converted({"params": state}, name="swinir", **keywords)
    assert arch == {"name": "swinir", **keywords}
    low = torch.rand(1, 3, 8, 12, generator=generator(0, "low"))
    wanted = authors.swinir(state, low, scale=scale, depths=[2, 2], heads=3, window=4, direct=direct)
    with torch.no_grad():
        torch.testing.assert_close(net(low), wanted, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("drn-s-x4", 4_804_065),
        ("drn-l-x4", 9_825_893),
        ("drn-s-x8", 5_403_000),
        ("drn-s-duals-x4", 1_728),
        ("edsr-baseline-x2", 1_369_859 + 24),
        ("edsr-baseline-x3", 1_554_499 + 24),
        ("edsr-baseline-x4", 1_517_571 + 24),
        ("swinir-light-x2", 910_152),
        ("swinir-light-x4", 929_628),
        ("swinir-x4", 11_900_199),
    ],
)
def test_published_sizes(name: str, parameters: int) -> None:
    arch = published()[name]
    if arch["name"] == "drn":
        weights: Any = authors.drn_layout(arch["scale"], arch["blocks"], arch["width"])
    elif arch["name"] == "edsr":
        weights = authors.edsr_layout(arch["scale"], arch["blocks"], arch["width"])
    elif arch["name"] == "swinir":
        depths, width = arch.get("depths", [6] * 4), arch.get("width", 60)
        weights = authors.swinir_layout(arch["scale"], depths, width, 6, size=64, direct=arch.get("direct", True))
    else:
        weights = authors.dual_layout(arch["width"])
    empty = {key: torch.zeros(()).expand(shape) for key, shape in weights.items()}
    net, found = from_authors([empty] * 2 if arch["name"] == "drn_duals" else empty, arch)
    assert count(net) == parameters and found == arch


def test_pruned_nets_are_known_by_their_shapes() -> None:
    """What `thin` makes of ours is what their surgery makes of theirs: rows and columns of the same tensors."""
    state = authors.drawn(authors.swinir_layout(2, [2, 2], 12, 3, window=4, size=8))
    dense, _ = converted(state, name="swinir", **SWINIR)
    assert isinstance(dense, SRNetwork)
    widths = [3, 20, 2, 24, 4, 8, 1, 16]
    wanted = thin(dense, dense.units(), largest(dense, dense.units(), widths))
    ours = wanted.state_dict()
    for name, shape in authors.swinir_layout(2, [2, 2], 12, 3, window=4, size=8).items():
        stem = name.replace("layers", "groups").replace("residual_group.", "")
        if ".attn.qkv" in name or ".attn.proj" in name or ".mlp." in name:
            state[name] = ours[stem]
            assert len(shape) == state[name].ndim
    net, arch = converted(state, name="swinir", **SWINIR)
    assert arch["inner"] == widths and isinstance(net, SRNetwork) and widths_of(net, net.units()) == widths
    low = torch.rand(1, 3, 8, 8, generator=generator(0, "low"))
    assert net(low).equal(wanted(low))


def test_a_pruned_drn_gives_their_function() -> None:
    layout = authors.drn_layout(4, 1, 16)
    layout |= authors.conv("down.1.dual_module.0.0", 32, 12, bias=False) | authors.conv("up_blocks.1.0.body.0", 64, 20)
    layout |= authors.conv("down.1.dual_module.1", 12, 64, bias=False) | authors.conv("up_blocks.1.0.body.2", 20, 64)
    layout |= authors.conv("up_blocks.0.1.0", 64, 4 * 28) | authors.conv("up_blocks.0.2", 28, 32, 1)
    state = authors.drawn(layout)
    net, arch = converted(state, name="drn", scale=4, blocks=1, width=16)
    assert arch["inner"] == [16, 12, 64, 28, 20, 64]
    low = torch.rand(1, 3, 5, 4, generator=generator(0, "low"))
    wanted = authors.drn(state, 255 * low, scale=4, blocks=1)[-1] / 255
    torch.testing.assert_close(net(low), wanted, atol=2e-5, rtol=1e-5)


def test_wrong_weights_are_named() -> None:
    good = authors.drawn(authors.edsr_layout(2, 2, 8))
    arch = {"name": "edsr", "scale": 2, "blocks": 2, "width": 8}
    lacking = {name: value for name, value in good.items() if name != "body.1.body.2.bias"}
    for weights, said in (
        (lacking, r"1 missing \(blocks\.1\.second\.bias\)"),
        ({**good, "extra.weight": torch.zeros(1)}, r"1 unexpected \(extra\.weight\)"),
        ({**good, "tail.1.bias": torch.zeros(4)}, r"1 of another shape \(tail\.bias \(4,\) for \(3,\)\)"),
        ({}, r"20 missing .*\.\.\."),
        ([good], "missing"),
        ([torch.zeros(3)], "must be named tensors"),
    ):
        with pytest.raises(FoundryError, match=said):
            from_authors(weights, arch)
    with pytest.raises(FoundryError, match="got 'mzsr'"):
        from_authors(good, {"name": "mzsr"})
    module = {f"module.{name}": value for name, value in good.items()}
    assert torch.equal(from_authors(module, arch)[0].get_parameter("head.bias"), good["head.0.bias"])


def test_the_program_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert program.PUBLISHED and set(program.PUBLISHED) == set(published())
    state = authors.drawn(authors.edsr_layout(2, 16, 64))
    torch.save(state, "theirs.pt")
    assert program.main(["import", "theirs.pt", "--as", "edsr-baseline-x2", "--out", "ours.safetensors"]) == 0
    assert "1,369,883 parameters" in capsys.readouterr().out
    model = TorchModel(Path("ours.safetensors"), torch.device("cpu"))
    low = torch.rand(1, 3, 9, 8, generator=generator(0, "low"))
    wanted = authors.edsr(state, 255 * low, scale=2, blocks=16, strength=1.0) / 255
    torch.testing.assert_close(torch.from_numpy(model.run(low.numpy())), wanted.clamp(0, 1), atol=1e-4, rtol=0)
    assert cards.read_card(Path("ours.safetensors")).made_by == "import edsr-baseline-x2"
    torch.save({"weights": object}, "code.pt")
    Path("cut.pth").write_bytes(Path("theirs.pt").read_bytes()[:5000])
    torch.save(torch.zeros(3), "tensor.pt")
    for bad, said in (
        (["none.pt"], "none.pt not found"),
        (["code.pt"], "must be a state dict of tensors"),
        (["cut.pth"], "must be a state dict of tensors"),
        (["tensor.pt"], "got a Tensor"),
        (["theirs.pt", "--out", "ours.onnx"], "must be a .safetensors file"),
    ):
        assert program.main(["import", *bad, "--as", "edsr-baseline-x2"]) == 1
        assert said in capsys.readouterr().err

"""A SwinIR becomes its authors' file and comes back bit for bit; spandrel's plugin rebuilds networks from tensors."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from srfoundry.cli import program
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.deployment.foreign import spandrel_file, spandrel_plugin
from srfoundry.networks.published_weights import from_authors, to_authors
from srfoundry.networks.zoo import cards
from srfoundry.networks.zoo.architectures import build
from tests import authors

SMALL: dict[str, Any] = {"name": "swinir", "scale": 2, "depths": [2, 3], "width": 12, "heads": 3, "window": 8}
BUILT = importlib.util.find_spec("spandrel") is not None
needs_spandrel = pytest.mark.skipif(not BUILT, reason="spandrel is not installed: pip install spandrel")


def random(arch: dict[str, Any]) -> nn.Module:
    """The network with random numbers in all its tensors."""
    net = build(arch)
    rng = generator(0, "random", arch["scale"])
    with torch.no_grad():
        for value in net.parameters():
            value.normal_(0, 0.1, generator=rng)
    return net.eval()


@pytest.mark.parametrize(
    "keywords", [{}, {"scale": 3}, {"scale": 4, "direct": False}, {"scale": 8, "direct": False, "window": 4}]
)
def test_there_and_back_is_the_identity(keywords: dict[str, Any]) -> None:
    arch = {**SMALL, **keywords}
    net = random(arch)
    theirs = to_authors(net, arch)
    back, found = from_authors(theirs, arch)
    assert found == arch and net.state_dict().keys() == back.state_dict().keys()
    assert all(value.equal(back.state_dict()[name]) for name, value in net.state_dict().items())


def test_the_names_and_shapes_are_the_authors() -> None:
    """As they stand in their repository, masks and positions of windows among them."""
    theirs = {name: tuple(value.shape) for name, value in to_authors(random(SMALL), SMALL).items()}
    wanted = authors.swinir_layout(2, [2, 3], 12, 3, window=8, size=64)
    assert theirs == wanted


def test_what_has_another_layout_is_refused() -> None:
    drn = {"name": "drn", "scale": 2, "blocks": 1, "width": 4}
    with pytest.raises(FoundryError, match="must be one for images in .0, 1., got 'drn'"):
        to_authors(random(drn), drn)
    pruned = {**SMALL, "inner": [2, 20] * 5}
    with pytest.raises(FoundryError, match="must have its full widths, got a compressed one"):
        to_authors(random(pruned), pruned)


def test_the_command_writes_a_file_that_import_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = tmp_path / "mine.safetensors", tmp_path / "out"
    net = random(SMALL)
    cards.save(model, net, arch=SMALL, scale=2, made_by="dual", params_hash="0")
    assert program.main(["convert", str(model), "--for", "spandrel", "--out", str(out)]) == 0
    assert "largest difference" in capsys.readouterr().out
    back, _ = from_authors(safetensors.torch.load_file(out / "mine-x2.safetensors"), SMALL)
    assert all(value.equal(back.state_dict()[name]) for name, value in net.state_dict().items())


def test_a_drn_is_refused_with_the_plugin_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, arch = tmp_path / "drn.safetensors", {"name": "drn", "scale": 2, "blocks": 1, "width": 4}
    cards.save(model, random(arch), arch=arch, scale=2, made_by="dual", params_hash="0")
    assert program.main(["convert", str(model), "--for", "spandrel", "--out", str(tmp_path / "out")]) == 1
    assert "spandrel_plugin" in capsys.readouterr().err and not (tmp_path / "out").exists()


ARCHES: list[dict[str, Any]] = [
    {"name": "drn", "scale": 2, "blocks": 2, "width": 8},
    {"name": "drn", "scale": 3, "blocks": 1, "width": 4},
    {"name": "drn", "scale": 4, "blocks": 1, "width": 4},
    {"name": "drn", "scale": 2, "blocks": 1, "width": 8, "inner": [5, 7, 3]},
    {"name": "drn", "scale": 4, "blocks": 1, "width": 4, "inner": [3, 5, 7, 3, 4, 6]},
    {**SMALL, "direct": True},
    {**SMALL, "scale": 4, "direct": False},
    {**SMALL, "direct": True, "inner": [2, 20, 4, 24, 1, 8, 3, 16, 4, 10]},
]


@pytest.mark.parametrize("arch", ARCHES, ids=str)
def test_a_network_is_rebuilt_from_its_tensors(arch: dict[str, Any]) -> None:
    net = random(arch)
    found = spandrel_plugin.arch_of(net.state_dict())
    again = build(found)
    again.load_state_dict(net.state_dict())  # strict: names and shapes
    low = torch.rand(1, 3, 16, 24, generator=generator(0, "low"))
    assert again(low).equal(net(low)) and found["scale"] == arch["scale"]
    assert ("inner" in found) == ("inner" in arch)


def test_other_tensors_are_nobodys() -> None:
    edsr = random({"name": "edsr", "scale": 2, "blocks": 1, "width": 4})
    with pytest.raises(KeyError):
        spandrel_plugin.arch_of(edsr.state_dict())


@needs_spandrel
@pytest.mark.parametrize("direct", [True, False])
def test_spandrel_gives_the_same_numbers(direct: bool) -> None:
    arch = {**SMALL, "direct": direct}
    net = random(arch)
    card = cards.Card(arch, 2, 8, "dual", "0", {})
    assert spandrel_file.measure(to_authors(net, arch), net, card) < 1e-5


@needs_spandrel
@pytest.mark.parametrize("arch", ARCHES, ids=str)
def test_spandrel_runs_our_own_files(arch: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    spandrel: Any = importlib.import_module("spandrel")
    registry = spandrel.MAIN_REGISTRY.copy()
    registry.add(*spandrel_plugin.support())
    monkeypatch.setattr(spandrel.ModelLoader.__init__, "__defaults__", (None, registry))
    net = random(arch)
    card = cards.Card(arch, arch["scale"], getattr(net, "multiple_of", 1), "dual", "0", {})
    assert spandrel_file.measure(net.state_dict(), net, card) < 1e-6

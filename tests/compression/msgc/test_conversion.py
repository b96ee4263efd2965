"""The plain net that masks convert to: exact, with norms, on a card and in ONNX."""

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks._classifiers import MobileNetV2, ResNet, start
from srfoundry.compression.msgc.conversion import convert
from srfoundry.compression.msgc.cost import count_of
from srfoundry.compression.msgc.layer_pairs import Choice, pairs_of
from srfoundry.compression.msgc.mask_choice import freeze, settle
from srfoundry.compression.msgc.masked_conv import (
    MSGConv2d,
    layer_of,
    sampling,
    wrap,
)
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator, redraw
from srfoundry.deployment import export
from srfoundry.deployment.settings import GraphTarget, ParityCheck
from srfoundry.networks.sr.multiplications import multiplications
from srfoundry.networks.zoo import cards
from srfoundry.networks.zoo.gather_conv import GatherConv2d, grouped_layers
from tests.masks import LOW, edsr, shaken
from tests.searches import wanted
from tests.stub import attentive


@pytest.mark.parametrize("net", ["resnet", "mobilenet"])
def test_classifiers_convert_with_their_norms(net: str) -> None:
    made: Any = ResNet(classes=5, width=8, stages=(1, 1), small=True)
    if net == "mobilenet":
        made = MobileNetV2(classes=5, layout=((1, 8, 1, 1), (4, 8, 2, 2)), stem=8, head=16, small=True)
    start(made, generator(1, "net"))
    image = torch.rand(4, 3, 12, 12, generator=generator(1, "image"))
    made.train()(image)  # the norms have seen something
    made.eval()
    pairs = made.layer_pairs()
    for low in (None, image):
        count = count_of(made, pairs, groups=4, low=low)
        masked = wrap(made, pairs)
        with torch.no_grad():
            torch.testing.assert_close(masked(image), made(image), atol=1e-6, rtol=0)
        for layer in masked.modules():
            if isinstance(layer, MSGConv2d):
                layer.logits.data += torch.randn(layer.logits.shape, generator=generator(1, layer.name))  # pyright: ignore
        choices = settle(masked, pairs, count, wanted(0.2, 0.03, multiple=4))
        freeze(masked, pairs, choices)
        plain = convert(masked, pairs)
        with torch.no_grad():
            torch.testing.assert_close(plain(image), masked(image), atol=1e-5, rtol=0)
        real = sum(w.numel() for w in plain.parameters()) if low is None else multiplications(plain, image)
        with sampling(masked) as masks, torch.no_grad():
            masked(image)
        assert float(count.of(pairs, masks)) == real
        assert 0.2 <= 1 - real / count.total <= 0.23


def test_ragged_groups_are_refused_or_filled_up() -> None:
    net = edsr(8)
    pairs = pairs_of(net.units())
    masked = wrap(net, pairs)
    layer = layer_of(masked, pairs[0].reader)
    assert layer.logits is not None
    layer.logits.data[0] = -1.0  # an empty group: its filters give their bias
    layer.logits.data[1, :5] = -1.0
    layer.logits.data[2:, 4:] = -1.0
    with pytest.raises(FoundryError, match=r"blocks\.0\.second must read equally many channels, got \[0, 3, 4, 4\]"):
        convert(masked, pairs)
    with pytest.warns(UserWarning, match="runtimes are quick at equal multiples"):
        plain = convert(masked, pairs, ragged=True)
    with torch.no_grad():
        torch.testing.assert_close(plain(LOW), masked(LOW), atol=1e-5, rtol=0)
    with pytest.warns(UserWarning, match="multiples of 8"):
        freeze(masked, pairs, [Choice(torch.arange(8), torch.arange(4).expand(4, 4))] * 2)
        convert(masked, pairs, multiple=8)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(FoundryError, match="attention at attn"):
        pairs_of(attentive().units())
    net = edsr(8)
    pairs = pairs_of(net.units())
    with pytest.raises(FoundryError, match="static masks"):
        convert(wrap(net, pairs, sampled=True, rng=generator(1, "g")), pairs)
    with pytest.raises(FoundryError, match="must be at most"):
        settle(wrap(net, pairs), pairs, count_of(net, pairs, groups=4, low=None), wanted(0.99, 0.01))
    with pytest.raises(ValueError, match="must divide"):
        MSGConv2d(nn.Conv2d(4, 6, 3), groups=4)


def test_gathered_and_dense_weights_have_the_same_gradients() -> None:
    """What training runs on is the layer that is exported, slopes included; a channel that is listed twice, too."""
    conv = nn.Conv2d(6, 4, 3, padding=1, groups=2)
    redraw(conv, generator(1, "conv"))
    layer = GatherConv2d(conv, torch.tensor([0, 3, 4, 4, 1, 0]), 5)
    image = torch.rand(2, 5, 6, 7, generator=generator(1, "image")).requires_grad_()
    weights = [image, *layer.parameters()]
    dense = torch.autograd.grad(layer(image).square().sum(), weights)
    gathered = torch.autograd.grad(conv(image.index_select(1, layer.index)).square().sum(), weights)
    for one, other in zip(dense, gathered, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_cards_and_onnx_know_gathering_layers(tmp_path: Path) -> None:
    net = edsr()
    pairs = pairs_of(net.units())
    masked = shaken(net)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # sizes that the runtime likes
        count = count_of(net, pairs, groups=4, low=LOW)
        choices = settle(masked, pairs, count, wanted(0.25, 0.05, multiple=4))
        freeze(masked, pairs, choices)
        plain = convert(masked, pairs)
    assert any(isinstance(layer, GatherConv2d) for layer in plain.modules())
    with torch.no_grad():
        gathered = plain(LOW)
    torch.testing.assert_close(plain(LOW), gathered, atol=1e-6, rtol=0)  # as trained: on dense weights
    inner = [len(choice.used) for choice in choices]
    arch = {"name": "edsr", "scale": 2, "blocks": 2, "width": 16, "inner": inner, "grouped": grouped_layers(plain)}
    path = tmp_path / "net.safetensors"
    cards.save(path, plain, arch=arch, scale=2, made_by="compress", params_hash="p")
    loaded, card = cards.load(path)
    with torch.no_grad():
        torch.testing.assert_close(loaded(LOW), plain(LOW), atol=0, rtol=0)
    about = export.describe(
        loaded,
        card,
        GraphTarget(opset=11, tile=64, tile_error=2e-3),
        pictures=[],
        name="msgc",
        data_hash="d",
        metrics={},
    )
    check = ParityCheck(sizes=[(16, 24), (9, 7)], tolerance=1e-5)
    assert export.write(loaded, about, tmp_path / "net.onnx", check).worst <= 1e-5
    kinds = {node.op_type for node in export.read_proto(tmp_path / "net.onnx").graph.node}
    assert "Gather" in kinds and not kinds & {"NonZero", "Where", "ScatterElements", "ScatterND", "If", "Loop"}
    wrong = copy.deepcopy(plain)
    next(layer for layer in wrong.modules() if isinstance(layer, GatherConv2d)).index[0] = 99
    cards.save(path, wrong, arch=arch, scale=2, made_by="compress", params_hash="p")
    with pytest.raises(FoundryError, match="index must name channels from 0 to below"):
        cards.load(path)
    name, (inputs, read, groups) = next(iter(arch["grouped"].items()))
    more = {**arch, "grouped": {**arch["grouped"], name: [inputs + 1, read, groups]}}
    cards.save(path, plain, arch=more, scale=2, made_by="compress", params_hash="p")
    with pytest.raises(FoundryError, match="grouped must have the inputs of"):
        cards.load(path)
    broken = {**arch, "grouped": {"nothing": [1, 1, 1]}}
    cards.save(path, plain, arch=broken, scale=2, made_by="compress", params_hash="p")
    with pytest.raises(FoundryError, match="do not fit their card"):
        cards.load(path)

"""Filter groups that choose what they read: exact masks, gradients, counts and conversion; a budget that is met."""

import copy
import itertools
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks._classifiers import MobileNetV2, ResNet, start
from benchmarks._published import published
from pipelines.support import methods
from srfoundry.compression.budget import GRID
from srfoundry.compression.msgc.layer_pairs import Chain, chains_of
from srfoundry.compression.msgc.conversion import Choice, _priced, assign, convert, freeze, settle
from srfoundry.compression.msgc.cost import count_of
from srfoundry.compression.msgc.mask_search import search_masks, target
from srfoundry.compression.msgc.masked_conv import (
    MSGConv2d,
    groups_of,
    keep_probabilities,
    layer_of,
    sampling,
    straight_through,
    wrap,
)
from srfoundry.config.params import Params, load
from srfoundry.core.compute import Compute
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator, redraw
from srfoundry.deployment import export
from srfoundry.deployment.settings import GraphTarget, ParityCheck
from srfoundry.dual_regression.batches import draw
from srfoundry.dual_regression.loss import loss_of
from srfoundry.networks.sr.drn import DRN
from srfoundry.networks.sr.edsr import EDSR
from srfoundry.networks.sr.multiplications import multiplications
from srfoundry.networks.zoo import cards
from srfoundry.networks.zoo.gather_conv import GatherConv2d, grouped_layers
from srfoundry.reporting.compression import methods_picture
from srfoundry.training.settings import PatchDraw
from tests.closed import CPU, nets, photographs
from tests.conftest import REPO
from tests.stub import attentive

LOW = torch.rand(2, 3, 9, 7, generator=generator(1, "low"))


def edsr(width: int = 16) -> EDSR:
    net = EDSR(scale=2, blocks=2, width=width)
    redraw(net, generator(1, "net"))
    return net


def shaken(net: Any, groups: int = 4) -> Any:
    """The net wrapped, with logits that differ and are partly below zero."""
    masked = wrap(net, chains_of(net.units()), groups=groups)
    for layer in masked.modules():
        if isinstance(layer, MSGConv2d):
            assert layer.logits is not None
            layer.logits.data = torch.randn(layer.logits.shape, generator=generator(1, layer.name)) + 0.5
    return masked


def thresholded(net: nn.Module) -> dict[str, Tensor]:
    with sampling(net) as masks, torch.no_grad():
        net(LOW)
    return masks


@pytest.mark.parametrize(("size", "stride", "bias"), [(1, 1, True), (3, 1, True), (3, 2, False), (1, 2, False)])
@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("attention", [False, True])
def test_open_masks_are_the_dense_convolution(
    size: int, stride: int, bias: bool, sampled: bool, attention: bool
) -> None:
    conv = nn.Conv2d(8, 12, size, stride=stride, padding=size // 2, bias=bias)
    redraw(conv, generator(1, "conv"))
    image = torch.randn(2, 8, 10, 9, generator=generator(1, "image"))
    layer = MSGConv2d(conv, groups=4, sampled=sampled, attention=attention, rng=generator(1, "gates"))
    if layer.gate is not None:
        nn.init.zeros_(layer.gate.excite.weight)
    with torch.no_grad():
        torch.testing.assert_close(layer(image), conv(image), atol=1e-6, rtol=0)
        half = layer.bfloat16()(image.bfloat16())
        torch.testing.assert_close(half.float(), conv.bfloat16()(image.bfloat16()).float(), atol=3e-2, rtol=0)


def test_one_group_is_channel_pruning_and_disjoint_masks_are_a_grouped_convolution() -> None:
    image = torch.randn(2, 8, 6, 5, generator=generator(1, "image"))
    conv = nn.Conv2d(8, 12, 3, padding=1)
    redraw(conv, generator(1, "conv"))
    one = MSGConv2d(conv, groups=1)
    kept = torch.tensor([1, 4, 6])
    one.logits.data = torch.full((1, 8), -1.0).index_fill(1, kept, 1.0)  # pyright: ignore
    sliced = nn.functional.conv2d(image[:, kept], conv.weight[:, kept], conv.bias, padding=1)
    torch.testing.assert_close(one(image), sliced, atol=1e-6, rtol=0)
    four = MSGConv2d(conv, groups=4)
    order = torch.randperm(8, generator=generator(1, "order"))
    four.logits.data = torch.full((4, 8), -1.0).scatter(1, order.reshape(4, 2), 1.0)  # pyright: ignore
    weight = torch.cat([conv.weight[3 * g : 3 * g + 3][:, order[2 * g : 2 * g + 2]] for g in range(4)])
    wanted = nn.functional.conv2d(image[:, order], weight, conv.bias, padding=1, groups=4)
    torch.testing.assert_close(four(image), wanted, atol=1e-5, rtol=0)


def test_masks_are_drawn_with_their_probability_and_carry_the_relaxed_gradient() -> None:
    logits = torch.linspace(-3, 3, 7).requires_grad_()
    many = straight_through(logits.expand(100_000, 7), temperature=2 / 3, rng=generator(1, "noise"))
    assert set(many.detach().unique().tolist()) == {0.0, 1.0}, "binary to the bit"
    torch.testing.assert_close(many.detach().mean(0), torch.sigmoid(logits.detach()), atol=0.01, rtol=0)
    straight_through(logits, temperature=0.5, rng=generator(2, "noise")).sum().backward()
    uniform = torch.rand(7, generator=generator(2, "noise"))
    relaxed = torch.sigmoid((logits.detach() + torch.logit(uniform)) / 0.5)
    torch.testing.assert_close(logits.grad, relaxed * (1 - relaxed) / 0.5, atol=1e-4, rtol=1e-3)


def test_heat_makes_masks_decisive() -> None:
    """P = sigmoid(z / T), drawn and expected: at T = 0.1 a logit of 0.5 is kept in 99 of 100 draws."""
    net = edsr(8)
    chains = chains_of(net.units())
    masked = wrap(net, chains)
    name = chains[0].reader
    logits = layer_of(masked, name).logits
    assert logits is not None
    logits.data = torch.linspace(-0.5, 0.5, 32).reshape(4, 8)
    for heat in (1.0, 0.1):
        wanted = keep_probabilities(masked, chains, heat)[name].detach()
        torch.testing.assert_close(wanted, torch.sigmoid(logits.detach() / heat))
        mean, rng = torch.zeros(4, 8), generator(1, "noise")
        for _ in range(2000):
            with sampling(masked, rng, temperature=1.0, heat=heat) as masks, torch.no_grad():
                layer_of(masked, name)(torch.zeros(1, 8, 1, 1))
            mean += masks[name] / 2000
        torch.testing.assert_close(mean, wanted, atol=0.06, rtol=0)


def test_groups_are_the_most_that_divide_the_filters() -> None:
    assert [groups_of(nn.Conv2d(1, filters, 1), 4) for filters in (8, 6, 9, 5, 2)] == [4, 3, 3, 1, 2]


def test_gates_look_at_the_block_and_forget_the_noise_outside_training() -> None:
    net = ResNet(classes=4, width=8, stages=(1, 1), small=True)
    start(net, generator(1, "net"))
    masked = wrap(net, net.chains(), sampled=True, attention=True, rng=generator(1, "gates")).eval()
    image = torch.rand(3, 3, 8, 8, generator=generator(1, "image"))
    with sampling(masked) as masks:
        first = masked(image)
    assert {name: tuple(mask.shape) for name, mask in masks.items()} == {
        "layer1.0.conv1": (3, 1, 8), "layer1.0.conv2": (3, 4, 8),
        "layer2.0.conv1": (3, 1, 8), "layer2.0.conv2": (3, 4, 16),
    }  # fmt: skip
    torch.testing.assert_close(masked(image), first, atol=0, rtol=0)
    alone = torch.cat([masked(image[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(alone, first, atol=1e-5, rtol=0)
    layer_of(masked, "layer2.0.conv2").train()  # and a batch of one passes the gates: they hold no batch norm
    gate = layer_of(masked, "layer2.0.conv2").gate
    with sampling(masked, generator(1, "noise")):
        masked(image).square().sum().backward()
    assert gate is not None and gate.excite.weight.grad is not None and bool(gate.excite.weight.grad.any())


@pytest.mark.parametrize("measure", ["parameters", "macs"])
@pytest.mark.parametrize("net", [edsr(), nets(2)[0], nets(4)[0]], ids=["edsr", "drn2", "drn4"])
def test_the_count_is_that_of_the_converted_net(net: Any, measure: str) -> None:
    chains = chains_of(net.units())
    count = count_of(net, chains, groups=4, low=LOW if measure == "macs" else None)
    masked = shaken(net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        choices = settle(masked, chains, count, remove=0.3, tolerance=0.05, multiple=2)
        freeze(masked, chains, choices)
        plain = convert(masked, chains, multiple=2)
    masks = thresholded(masked)
    real = sum(w.numel() for w in plain.parameters()) if measure == "parameters" else multiplications(plain, LOW)
    assert float(count.of(chains, masks)) == real
    assert 0.3 <= float(count.removed(chains, masks)) <= 0.35
    ones = {name: torch.ones_like(mask) for name, mask in masks.items()}
    assert float(count.of(chains, ones)) == count.total
    with torch.no_grad():
        torch.testing.assert_close(plain(LOW), masked(LOW), atol=1e-5, rtol=0)


def test_the_expected_count_is_exact_and_its_gradient_goes_through_the_union() -> None:
    net = edsr(8)
    chains = chains_of(net.units())
    count = count_of(net, chains, groups=4, low=LOW)
    masked = shaken(net)
    shares = keep_probabilities(masked, chains)
    expected = count.of(chains, shares)
    rng, total = generator(1, "masks"), 0.0
    for _ in range(3000):
        total += float(
            count.of(chains, {name: torch.bernoulli(p.detach(), generator=rng) for name, p in shares.items()})
        )
    assert total / 3000 == pytest.approx(float(expected.detach()), rel=0.01)
    expected.backward()
    logits = layer_of(masked, chains[0].reader).logits
    assert logits is not None and logits.grad is not None
    term, p = count.terms[0], torch.sigmoid(logits.detach())
    inputs = float(shares[chains[0].makers[0]].detach().sum())
    others = torch.stack([torch.cat([1 - p[:g], 1 - p[g + 1 :]]).prod(0) for g in range(4)])
    slope = (term.pair * inputs + term.each) * others + term.read
    torch.testing.assert_close(logits.grad, (slope * p * (1 - p)).float(), rtol=1e-4, atol=1e-3)


def test_sample_wise_counts_keep_what_varies_together() -> None:
    """Dense masks for one image, thin ones for another: the mean of products, not the product of means."""
    net = edsr(8)
    chains = chains_of(net.units())
    count = count_of(net, chains, groups=4, low=LOW)
    masks = {}
    for chain in chains:
        for name, groups in ((chain.makers[0], 1), (chain.reader, 4)):
            masks[name] = torch.stack([torch.ones(groups, 8), torch.zeros(groups, 8)])
    each = count.of(chains, masks)
    assert each.tolist() == [count.total, count.fixed]
    assert float(count.removed(chains, masks)) == pytest.approx(0.5 * (1 - count.fixed / count.total))


@pytest.mark.parametrize("net", ["resnet", "mobilenet"])
def test_classifiers_convert_with_their_norms(net: str) -> None:
    made: Any = ResNet(classes=5, width=8, stages=(1, 1), small=True)
    if net == "mobilenet":
        made = MobileNetV2(classes=5, layout=((1, 8, 1, 1), (4, 8, 2, 2)), stem=8, head=16, small=True)
    start(made, generator(1, "net"))
    image = torch.rand(4, 3, 12, 12, generator=generator(1, "image"))
    made.train()(image)  # the norms have seen something
    made.eval()
    chains = made.chains()
    for low in (None, image):
        count = count_of(made, chains, groups=4, low=low)
        masked = wrap(made, chains)
        with torch.no_grad():
            torch.testing.assert_close(masked(image), made(image), atol=1e-6, rtol=0)
        for layer in masked.modules():
            if isinstance(layer, MSGConv2d):
                layer.logits.data += torch.randn(layer.logits.shape, generator=generator(1, layer.name))  # pyright: ignore
        choices = settle(masked, chains, count, remove=0.2, tolerance=0.03, multiple=4)
        freeze(masked, chains, choices)
        plain = convert(masked, chains)
        with torch.no_grad():
            torch.testing.assert_close(plain(image), masked(image), atol=1e-5, rtol=0)
        real = sum(w.numel() for w in plain.parameters()) if low is None else multiplications(plain, image)
        with sampling(masked) as masks, torch.no_grad():
            masked(image)
        assert float(count.of(chains, masks)) == real
        assert 0.2 <= 1 - real / count.total <= 0.23


def test_published_layouts_have_the_published_numbers() -> None:
    """Spec table A7: ResNet-18 and MobileNetV2 with four groups, without and with attention."""
    resnet, mobile = ResNet(), MobileNetV2()
    assert [sum(w.numel() for w in net.parameters()) for net in (resnet, mobile)] == [11_689_512, 3_504_872]
    found = published(resnet, attention=False)
    assert (found.parameters, found.gate_parameters) == (12_553_128, 863_616)
    assert [round(value / 1e6, 3) for value in (found.macs, found.masked_macs, found.gate_macs)] == [
        1817.209, 1677.785, 1.782,
    ]  # fmt: skip
    found = published(resnet, attention=True)
    assert (found.parameters, found.attention_parameters) == (13_416_744, 863_616)
    assert round(found.masked_macs / 1e6, 3) == 1681.724
    found = published(mobile, attention=False)
    assert (found.parameters, found.gate_parameters) == (4_318_504, 813_632)
    assert [round(value / 1e6, 3) for value in (found.macs, found.masked_macs, found.gate_macs)] == [
        306.943, 118.114, 1.743,
    ]  # fmt: skip
    assert published(mobile, attention=True).parameters == 5_132_136


def test_assigned_groups_cover_their_union() -> None:
    logits = torch.randn(4, 24, generator=generator(1, "logits")).numpy()
    for size, union in ((8, 8), (8, 16), (8, 24), (4, 16), (24, 24)):
        rows = assign(logits, size, union)
        assert rows.shape == (4, size) and all(sorted(set(row)) == row for row in rows.tolist())
        assert len(set(rows.flatten().tolist())) == union


def test_ragged_groups_are_refused_or_filled_up() -> None:
    net = edsr(8)
    chains = chains_of(net.units())
    masked = wrap(net, chains)
    layer = layer_of(masked, chains[0].reader)
    assert layer.logits is not None
    layer.logits.data[0] = -1.0  # an empty group: its filters give their bias
    layer.logits.data[1, :5] = -1.0
    layer.logits.data[2:, 4:] = -1.0
    with pytest.raises(FoundryError, match=r"blocks\.0\.second must read equally many channels, got \[0, 3, 4, 4\]"):
        convert(masked, chains)
    with pytest.warns(UserWarning, match="runtimes are quick at equal multiples"):
        plain = convert(masked, chains, ragged=True)
    with torch.no_grad():
        torch.testing.assert_close(plain(LOW), masked(LOW), atol=1e-5, rtol=0)
    with pytest.warns(UserWarning, match="multiples of 8"):
        freeze(masked, chains, [Choice(torch.arange(8), torch.arange(4).expand(4, 4))] * 2)
        convert(masked, chains, multiple=8)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(FoundryError, match="attention at attn"):
        chains_of(attentive().units())
    net = edsr(8)
    chains = chains_of(net.units())
    with pytest.raises(FoundryError, match="static masks"):
        convert(wrap(net, chains, sampled=True, rng=generator(1, "g")), chains)
    with pytest.raises(FoundryError, match="must be at most"):
        settle(
            wrap(net, chains),
            chains,
            count_of(net, chains, groups=4, low=None),
            remove=0.99,
            tolerance=0.01,
            multiple=4,
        )
    with pytest.raises(ValueError, match="must divide"):
        MSGConv2d(nn.Conv2d(4, 6, 3), groups=4)


def test_a_budget_is_met_by_trained_masks_and_a_killed_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("srfoundry.training.loop.SAVE_SECONDS", 0.0)
    patches = photographs(tmp_path / "set")

    def run(folder: str, stop: int | None = None) -> tuple[list[Choice], list[dict[str, float]], nn.Module]:
        net, duals = nets()
        chains = chains_of(net.units())
        masked = wrap(net, chains)

        def log(step: int, _values: dict[str, float]) -> None:
            if step == stop:
                raise KeyboardInterrupt

        draws = PatchDraw(patch=16, octave=0.0, batch=2)
        choices, history = search_masks(
            masked, chains, loss_of(duals, scale=2, weight=0.1, compute=Compute(CPU)),
            lambda i: draw(patches, draws, scale=2, rng=generator(1, i)),
            count=count_of(net, chains, groups=4, low=None), remove=0.3, tolerance=0.02, multiple=2, steps=24,
            learning_rate=1e-3, mask_rate=0.2, temperature=0.05, clip=1.0, seed=(1, "compress"), trained=[duals],
            checkpoint=tmp_path / folder, key="k", log=log,
        )  # fmt: skip
        return choices, history, masked

    choices, history, masked = run("whole")
    assert history[-1]["removed"] >= 0.3, "in expectation"
    assert all(row["price"] >= 0 for row in history), "nothing pulls masks open"
    assert history[0]["undecided"] > 0.3 and history[-1]["undecided"] < 0.1, "masks became decisions"
    net = nets()[0]
    chains = chains_of(net.units())
    removed = float(count_of(net, chains, groups=4, low=None).removed(chains, thresholded(masked)))
    assert 0.3 <= removed <= 0.32, "and when it is settled"
    with pytest.raises(KeyboardInterrupt):
        run("cut", stop=12)
    again, curve, resumed = run("cut")
    for one, other in zip(choices, again, strict=True):
        assert torch.equal(one.inputs, other.inputs) and torch.equal(one.groups, other.groups)
    assert curve == history
    for name, value in masked.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert [target(step, 100, 0.5) for step in (0, 25, 50, 99)] == [1.0, 0.75, 0.5, 0.5]


def test_the_budget_does_not_pull_masks_open(tmp_path: Path) -> None:
    """More is gone than the target of the moment asks: without a slope of the loss, logits stay where they are."""
    net = edsr(8)
    chains = chains_of(net.units())
    masked = wrap(net, chains)
    layers = [layer for layer in masked.modules() if isinstance(layer, MSGConv2d)]
    before = [layer.logits.detach().clone() for layer in layers if layer.logits is not None]
    seen: list[Tensor] = []

    def loss(net: Any, _batch: Any) -> dict[str, Tensor]:
        seen.extend(layer.logits.detach().clone() for layer in layers)  # pyright: ignore
        return {"total": 1 + 0.0 * net(LOW).sum()}

    search_masks(
        masked, chains, loss, lambda _: {}, count=count_of(net, chains, groups=4, low=None), remove=0.01,
        tolerance=0.05, multiple=2, steps=3, learning_rate=1e-3, mask_rate=0.2, temperature=1.0, clip=1.0,
        seed=(1, "m"), trained=[], checkpoint=tmp_path / "s", key="", log=lambda *_: None,
    )  # fmt: skip
    for number, value in enumerate(seen):
        assert torch.equal(value, before[number % len(before)])


def test_settling_finds_what_the_short_list_misses() -> None:
    """A band that options which cost more and are less likely are needed for; and one that nothing is in."""
    narrow = 0
    for seed in range(12):
        net = edsr(16)
        chains = chains_of(net.units())
        masked = wrap(net, chains)
        for layer in masked.modules():
            if isinstance(layer, MSGConv2d):
                assert layer.logits is not None
                layer.logits.data = torch.randn(layer.logits.shape, generator=generator(seed, layer.name)) * 2 - 2
        count = count_of(net, chains, groups=4, low=LOW)
        every = [{round(row[0]) for row in _priced(masked, c, t, 4)} for c, t in zip(chains, count.terms, strict=True)]
        left = [count.fixed + sum(costs) for costs in itertools.product(*every)]
        remove = 0.2 + 0.01 * seed
        band, spare = ((1 - remove - 0.001) * count.total, (1 - remove) * count.total), 3 * count.total / GRID
        possible = any(band[0] + spare <= cost <= band[1] - spare for cost in left)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            choices = settle(masked, chains, count, remove=remove, tolerance=0.001, multiple=4)
        cost = count.fixed + sum(
            t.at(len(c.inputs), len(c.used), c.groups.numel()) for t, c in zip(count.terms, choices, strict=True)
        )
        assert cost <= band[1]
        assert bool(said) == (cost < band[0] - 1e-6)
        assert not (possible and said), (seed, remove)
        narrow += possible
    assert 0 < narrow < 12


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
    chains = chains_of(net.units())
    masked = shaken(net)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # sizes that the runtime likes
        count = count_of(net, chains, groups=4, low=LOW)
        choices = settle(masked, chains, count, remove=0.25, tolerance=0.05, multiple=4)
        freeze(masked, chains, choices)
        plain = convert(masked, chains)
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
    about = export.describe(loaded, card, GraphTarget(opset=20, tile=64), name="msgc", data_hash="d", metrics={})
    worst = export.write(loaded, about, tmp_path / "net.onnx", ParityCheck(sizes=[(16, 24), (9, 7)], tolerance=1e-5))
    assert worst <= 1e-5
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


@pytest.mark.parametrize("method", ["msgc", "uniform", "random"])
def test_every_method_of_the_stage_gives_a_net_that_its_card_rebuilds(method: str, tmp_path: Path) -> None:
    values = load(REPO / "params.yaml").model_dump()
    values["compress"] |= {"method": method, "multiple": 2, "search_steps": 2}
    values["search"] |= {"patch": 32, "batch": 2, "tolerance": 0.1}
    params = Params(**values)
    photographs(tmp_path / "data" / "synthesize" / "train")
    stage: Any = SimpleNamespace(
        params=params, seed=1, name="compress@50", scale=2, compute=Compute(CPU), key="k",
        log=lambda *_: None, input=lambda path: tmp_path / path,
    )  # fmt: skip
    net, duals = nets()
    before = sum(w.numel() for w in net.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = methods.smaller(stage, net, duals, remove=0.5, state=tmp_path / "state")
    left = sum(w.numel() for w in found.net.parameters())
    assert 0.5 <= 1 - left / before <= 0.6
    assert found.scores["removed_fraction"] == pytest.approx(1 - left / before)
    arch = {"name": "drn", "scale": 2, "blocks": 1, "width": 8, **found.arch}
    cards.save(tmp_path / "n.safetensors", found.net, arch=arch, scale=2, made_by="compress", params_hash="p")
    loaded, _ = cards.load(tmp_path / "n.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(loaded(LOW), found.net(LOW), atol=0, rtol=0)
    assert isinstance(loaded, DRN) and ("grouped" in found.arch) == (method == "msgc")
    assert found.more_steps == (0 if method == "msgc" else 2), "recipes are equally long"


def test_chains_name_what_there_is() -> None:
    for net in (ResNet(stages=(1, 1)), MobileNetV2()):
        for chain in net.chains():
            assert isinstance(chain, Chain)
            for name in (chain.reader, *chain.makers, *chain.norms, chain.block):
                net.get_submodule(name)


def test_the_picture_of_methods_is_the_same_every_time(tmp_path: Path) -> None:
    psnr = {"dense": (31.0, 0.1), "msgc": (30.9, 0.2)}
    costs = {"multiply-adds, G": {"dense": 2.0, "msgc": 1.0}, "time, ms": {"dense": 9.0, "msgc": 6.0}}
    for name in ("one", "two"):
        methods_picture(tmp_path / f"{name}.png", psnr, costs)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()

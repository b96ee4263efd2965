"""Masked convolutions: open they are the dense layer, masked a sliced or grouped one; drawn as probable as said."""

import pytest
import torch
from torch import nn

from benchmarks._classifiers import ResNet, start
from srfoundry.compression.msgc.layer_pairs import pairs_of
from srfoundry.compression.msgc.masked_conv import (
    MSGConv2d,
    groups_of,
    keep_probabilities,
    layer_of,
    sampling,
    straight_through,
    wrap,
)
from srfoundry.core.seeds import generator, redraw
from tests.masks import edsr


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
    pairs = pairs_of(net.units())
    masked = wrap(net, pairs)
    name = pairs[0].reader
    logits = layer_of(masked, name).logits
    assert logits is not None
    logits.data = torch.linspace(-0.5, 0.5, 32).reshape(4, 8)
    for heat in (1.0, 0.1):
        wanted = keep_probabilities(masked, pairs, heat)[name].detach()
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
    masked = wrap(net, net.layer_pairs(), sampled=True, attention=True, rng=generator(1, "gates")).eval()
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

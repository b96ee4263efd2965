"""What masks cost: the converted net's own count, exact in expectation, and as published."""

import warnings
from typing import Any

import pytest
import torch

from benchmarks._classifiers import MobileNetV2, ResNet
from benchmarks._published import published
from srfoundry.compression.msgc.conversion import convert
from srfoundry.compression.msgc.cost import count_of
from srfoundry.compression.msgc.layer_pairs import pairs_of
from srfoundry.compression.msgc.mask_choice import freeze, settle
from srfoundry.compression.msgc.masked_conv import (
    keep_probabilities,
    layer_of,
)
from srfoundry.core.seeds import generator
from srfoundry.networks.sr.multiplications import multiplications
from tests.closed import nets
from tests.masks import LOW, edsr, shaken, thresholded
from tests.searches import wanted


@pytest.mark.parametrize("measure", ["parameters", "macs"])
@pytest.mark.parametrize("net", [edsr(), nets(2)[0], nets(4)[0]], ids=["edsr", "drn2", "drn4"])
def test_the_count_is_that_of_the_converted_net(net: Any, measure: str) -> None:
    pairs = pairs_of(net.units())
    count = count_of(net, pairs, groups=4, low=LOW if measure == "macs" else None)
    masked = shaken(net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        choices = settle(masked, pairs, count, wanted(0.3, 0.05, multiple=2))
        freeze(masked, pairs, choices)
        plain = convert(masked, pairs, multiple=2)
    masks = thresholded(masked)
    real = sum(w.numel() for w in plain.parameters()) if measure == "parameters" else multiplications(plain, LOW)
    assert float(count.of(pairs, masks)) == real
    assert 0.3 <= float(count.removed(pairs, masks)) <= 0.35
    ones = {name: torch.ones_like(mask) for name, mask in masks.items()}
    assert float(count.of(pairs, ones)) == count.total
    with torch.no_grad():
        torch.testing.assert_close(plain(LOW), masked(LOW), atol=1e-5, rtol=0)


def test_the_expected_count_is_exact_and_its_gradient_goes_through_the_union() -> None:
    net = edsr(8)
    pairs = pairs_of(net.units())
    count = count_of(net, pairs, groups=4, low=LOW)
    masked = shaken(net)
    shares = keep_probabilities(masked, pairs)
    expected = count.of(pairs, shares)
    rng, total = generator(1, "masks"), 0.0
    for _ in range(3000):
        total += float(
            count.of(pairs, {name: torch.bernoulli(p.detach(), generator=rng) for name, p in shares.items()})
        )
    assert total / 3000 == pytest.approx(float(expected.detach()), rel=0.01)
    expected.backward()
    logits = layer_of(masked, pairs[0].reader).logits
    assert logits is not None and logits.grad is not None
    term, p = count.terms[0], torch.sigmoid(logits.detach())
    inputs = float(shares[pairs[0].makers[0]].detach().sum())
    others = torch.stack([torch.cat([1 - p[:g], 1 - p[g + 1 :]]).prod(0) for g in range(4)])
    slope = (term.joint * inputs + term.each) * others + term.read
    torch.testing.assert_close(logits.grad, (slope * p * (1 - p)).float(), rtol=1e-4, atol=1e-3)


def test_sample_wise_counts_keep_what_varies_together() -> None:
    """Dense masks for one image, thin ones for another: the mean of products, not the product of means."""
    net = edsr(8)
    pairs = pairs_of(net.units())
    count = count_of(net, pairs, groups=4, low=LOW)
    masks = {}
    for pair in pairs:
        for name, groups in ((pair.makers[0], 1), (pair.reader, 4)):
            masks[name] = torch.stack([torch.ones(groups, 8), torch.zeros(groups, 8)])
    each = count.of(pairs, masks)
    assert each.tolist() == [count.total, count.fixed]
    assert float(count.removed(pairs, masks)) == pytest.approx(0.5 * (1 - count.fixed / count.total))


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

"""The attention's end in few passes: the plain operations' values, gradients and gradients of gradients."""

import torch
from torch import Tensor, nn

from srfoundry.core.seeds import generator, redraw
from srfoundry.networks.sr.drn import RCAB
from srfoundry.networks.sr.gate import gated


def plain(features: Tensor, body: Tensor, squeeze: nn.Module, excite: nn.Module) -> Tensor:
    """As the authors wrote it."""
    pooled = body.mean(dim=(2, 3), keepdim=True)
    return features + body * torch.sigmoid(excite(torch.relu(squeeze(pooled))))


def test_it_is_the_plain_operations_twice_differentiable() -> None:
    rng = generator(1, "gate")
    features, body, mix = (torch.randn(2, 8, 5, 6, generator=rng, dtype=torch.float64) for _ in range(3))
    body.requires_grad_()
    squeeze, excite = nn.Conv2d(8, 2, 1).double(), nn.Conv2d(2, 8, 1).double()
    redraw(squeeze, rng)
    redraw(excite, rng)
    inputs = [body, *squeeze.parameters(), *excite.parameters()]
    found = []
    for way in (gated, plain):
        out = way(features, body, squeeze, excite)
        first = torch.autograd.grad((out * mix).sin().sum(), inputs, create_graph=True)
        again = torch.autograd.grad(sum((each**2).sum() for each in first), inputs)  # pyright: ignore
        found.append([out, *first, *again])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-10)


def test_a_block_trains_alike_in_half_precision() -> None:
    block = RCAB(64, 16)
    redraw(block, generator(1, "block"))
    features = torch.randn(2, 64, 12, 12, generator=generator(1, "features"))
    exact = block(features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = block(features)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), exact, atol=0.05, rtol=0.02)
    slopes = [torch.autograd.grad(out.float().square().mean(), list(block.parameters())) for out in (exact, half)]
    for a, b in zip(*slopes, strict=True):
        assert float((a - b).norm()) < 0.05 * float(a.norm()) + 1e-6

"""Borders and pooling for a GPU are PyTorch's, values and gradients, in an order of their own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from srfoundry.core.seeds import generator
from srfoundry.networks.nonblind.fixed_order import MirroredConv2d, halved_by_maxima, reflect
from tests.pretended_gpu import pretended_gpu


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (3, 4)])
@pytest.mark.parametrize("layer", [lambda seen: reflect(seen, 2), halved_by_maxima, MirroredConv2d(2, 3, 3, stride=2)])
def test_a_gpu_gives_the_same_values_and_slopes(layer: Callable[[Tensor], Tensor], size: tuple[int, int]) -> None:
    features = torch.randn(1, 2, *size, generator=generator(1, "features"))

    def made(device: torch.device) -> list[Tensor]:
        leaf = features.to(device).requires_grad_()
        if isinstance(layer, MirroredConv2d):
            layer.to(device)
        out = layer(leaf)
        (slope,) = torch.autograd.grad(out.square().sum(), leaf)
        return [each.detach().cpu() for each in (out, slope)]

    with pretended_gpu() as device:
        plain = made(torch.device("cpu"))
        for one, other in zip(plain, made(device), strict=True):
            assert one.allclose(other, atol=1e-5)
    if isinstance(layer, MirroredConv2d):
        layer.to("cpu")


def test_pytorchs_own_border_is_refused_on_a_gpu() -> None:
    with pytest.raises(RuntimeError, match="reflection_pad2d_backward"), pretended_gpu() as device:
        leaf = torch.ones(1, 1, 4, 4).to(device).requires_grad_()
        torch.nn.functional.pad(leaf, (1, 1, 1, 1), mode="reflect").sum().backward()

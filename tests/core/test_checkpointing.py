"""Checkpointed blocks: the same results and gradients, and less is kept for the backward pass."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from srfoundry.core.checkpointing import checkpointed
from srfoundry.core.seeds import generator, redraw
from srfoundry.networks.nonblind.usrnet import USRNet
from srfoundry.networks.sr.drn import DRN
from srfoundry.networks.sr.prunable import masked
from tests.sr_cases import CONDITIONED_CASE, EDSR_CASE, SWINIR_CASE

KERNEL = torch.full((1, 3, 3), 1 / 9)
LOW = torch.rand(1, 3, 16, 16, generator=generator(0, "low"))


def drawn(net: nn.Module) -> nn.Module:
    redraw(net, generator(1, "net"))
    return net


NETS: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], Tensor]]] = {
    "drn": (lambda: drawn(DRN(scale=4, blocks=3, width=4)), lambda net: net(LOW)),
    "edsr": (EDSR_CASE.net, lambda net: net(LOW)),
    "swinir": (SWINIR_CASE.net, lambda net: net(LOW)),
    "conditioned": (CONDITIONED_CASE.net, lambda net: net(LOW)),
    "usrnet": (
        lambda: drawn(USRNet(widths=[4] * 4, blocks=2, iterations=2, residual=True)),
        lambda net: net(LOW, KERNEL, 2, torch.full((1,), 0.01)),
    ),
}


def trained(net: nn.Module, run: Callable[[nn.Module], Tensor], on: bool) -> tuple[Tensor, list[Tensor], int]:
    """The result, the gradients, and the bytes that were kept for them."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    net.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), checkpointed(net, on):
        result = run(net)
    size = sum(kept.values())
    result.square().mean().backward()
    return result.detach(), [weight.grad for weight in net.parameters() if weight.grad is not None], size


@pytest.mark.parametrize("name", NETS)
def test_gradients_are_the_same_and_less_is_kept(name: str) -> None:
    make, run = NETS[name]
    net = make()
    plain, wanted, whole = trained(net, run, on=False)
    again, found, less = trained(net, run, on=True)
    assert torch.equal(plain, again) and len(found) == len(wanted)
    for gradient, due in zip(found, wanted, strict=True):
        torch.testing.assert_close(gradient, due, atol=1e-6, rtol=1e-5)
    assert less < 0.8 * whole


def test_masks_act_in_the_second_pass_too() -> None:
    net = EDSR_CASE.net()
    factors = [torch.full((8,), 0.5, requires_grad=True) for _ in net.units()]
    found = []
    for on in (False, True):
        with masked(net, net.units(), [lambda factor=factor: factor for factor in factors]):
            with checkpointed(net, on):
                loss = net(LOW).square().mean()
            found.append(torch.autograd.grad(loss, factors))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
        assert float(one.abs().sum()) > 0

"""The DIP network is the published one, and is drawn from the generator that it is given."""

import pytest
import torch

from srfoundry.core.seeds import generator
from srfoundry.networks.nonblind.dip_unet import NonLocal, Skip, draw


def small(seed: int) -> Skip:
    return draw(lambda: Skip(width=8, skip=4, levels=3), rng=generator(seed, "skip"), device="cpu")


def test_published_counts() -> None:
    with torch.device("meta"):
        net = Skip()
    assert sum(value.numel() for value in net.parameters()) == 2_359_939
    assert len(list(net.parameters())) == 142
    assert sum(value.numel() for value in NonLocal(128).parameters()) == 33_344


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 24)])
def test_keeps_any_size_and_range(size: tuple[int, int]) -> None:
    image = small(1)(0.1 * torch.rand(1, 3, *size, generator=generator(1, "code"))).detach()
    assert image.shape == (1, 3, *size)
    assert 0 <= float(image.min()) and float(image.max()) <= 1


def test_non_local_starts_as_the_identity_and_equals_its_definition() -> None:
    block = draw(lambda: NonLocal(6), rng=generator(2, "block"), device="cpu")
    features = torch.randn(1, 6, 8, 10, generator=generator(2, "features"))
    assert torch.equal(block(features), features)
    theta = block.theta(features).flatten(2)
    phi, g = (torch.nn.functional.max_pool2d(part(features), 2).flatten(2) for part in (block.phi, block.g))
    affinity = theta.transpose(1, 2) @ phi / phi.shape[-1]
    expected = block.out((affinity @ g.transpose(1, 2)).transpose(1, 2).unflatten(2, (8, 10)))
    block.norm = torch.nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    torch.testing.assert_close(block(features), features + expected, rtol=1e-4, atol=1e-5)


def test_weights_come_from_the_generator_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = small(1), small(1), small(2)
    assert torch.equal(torch.get_rng_state(), before)
    for one, same in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, same)
    assert not torch.equal(first.head.weight, other.head.weight)
    fan_in = first.head.weight[0].numel()
    assert float(first.head.weight.detach().abs().max()) <= fan_in**-0.5


def test_all_parameters_learn() -> None:
    net = small(3)
    net(0.1 * torch.rand(1, 3, 32, 32, generator=generator(3, "code"))).square().mean().backward()
    assert all(value.grad is not None for value in net.parameters())

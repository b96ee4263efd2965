"""What comes through a channel, and that its product with the weights does not mind where the scale is."""

import pytest
import torch
from torch import Tensor, nn

from srfoundry.compression.importance import activities
from srfoundry.core.seeds import generator, redraw
from srfoundry.networks.sr.drn import DRN
from srfoundry.networks.sr.prunable import end_of, largest, producer_rows, width_of
from tests.stub import attentive


def batches(count: int = 3) -> list[Tensor]:
    """Low-resolution images."""
    return [torch.rand(2, 3, 8, 8, generator=generator(1, "low", index)) for index in range(count)]


def run(net: nn.Module, low: Tensor) -> object:
    """One pass."""
    return net(low)


def test_activity_is_the_root_mean_square_of_what_the_consumer_reads() -> None:
    net = attentive()
    units, seen = net.units(), []
    found = activities(net, units, run, batches())
    handles = [
        end_of(net, unit.consumer).register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].detach()))
        for unit in units
    ]
    for low in batches():
        net(low)
    for handle in handles:
        handle.remove()
    attention, hidden, spread = (torch.stack(seen[place :: len(units)]) for place in range(len(units)))
    heads = attention.unflatten(-1, (net.heads, -1))
    torch.testing.assert_close(found[0], heads.square().mean(dim=(0, 1, 2, 3)).sqrt())
    torch.testing.assert_close(found[1], hidden.square().mean(dim=(0, 1, 2)).sqrt())
    torch.testing.assert_close(found[2], spread.square().mean(dim=(0, 1, 3, 4)).sqrt())


def test_activity_of_nothing_is_refused() -> None:
    net = attentive()
    with pytest.raises(ValueError, match="nothing came through .* in 0 batches"):
        activities(net, net.units(), run, [])


def test_where_a_relu_has_its_scale_changes_no_ranking() -> None:
    """Channels times s before a ReLU and weights over s behind it are the same net, and lose the same channels."""
    net, moved = DRN(scale=2, blocks=2, width=16), DRN(scale=2, blocks=2, width=16)
    redraw(net, generator(1, "net"))
    moved.load_state_dict(net.state_dict())
    units = net.units()
    with torch.no_grad():
        for index, unit in enumerate(units):
            width = width_of(moved, unit)
            scale = torch.exp2(torch.randint(-3, 4, (width,), generator=generator(1, "scale", index)).float())
            producer, consumer = end_of(moved, unit.producer), end_of(moved, unit.consumer)
            for channel in range(width):
                rows = producer_rows(torch.tensor([channel]), unit, width)
                producer.weight[rows] *= scale[channel]
                if producer.bias is not None:
                    producer.bias[rows] *= scale[channel]
            consumer.weight /= scale[:, None, None]
    low = batches(1)[0]
    torch.testing.assert_close(moved(low), net(low), atol=1e-5, rtol=0)
    half = [width_of(net, unit) // 2 for unit in units]
    kept = [largest(each, units, half, activities(each, units, run, batches())) for each in (net, moved)]
    assert all(torch.equal(a, b) for a, b in zip(*kept, strict=True))
    by_weight = [largest(each, units, half) for each in (net, moved)]
    assert not all(torch.equal(a, b) for a, b in zip(*by_weight, strict=True))

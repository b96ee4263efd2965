"""Networks that are about to be trained."""

import torch

from srfoundry.core.seeds import generator, redraw
from srfoundry.networks.nonblind.usrnet import USRNet, start_plain
from srfoundry.networks.zoo.drawn import drawn


def test_a_drawn_network_begins_where_its_architecture_says() -> None:
    """Drawn anew, then set to its start: what each training did by itself."""
    shape = {"widths": [4] * 4, "blocks": 1, "iterations": 1, "residual": True}
    made = drawn({"name": "usrnet", **shape}, USRNet, rng=generator(1, "net"), device=torch.device("cpu"))
    net = USRNet(**shape)
    redraw(net, generator(1, "net"))
    start_plain(net)
    assert made.state_dict().keys() == net.state_dict().keys()
    assert all(value.equal(net.state_dict()[name]) for name, value in made.state_dict().items())

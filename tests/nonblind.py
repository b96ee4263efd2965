"""Small non-blind networks for the tests of blind restoration."""

from srfoundry.core.seeds import generator, redraw
from srfoundry.networks.nonblind.usrnet import USRNet, start_plain

ARCH = {"widths": [4] * 4, "blocks": 1, "iterations": 2, "residual": True}


def tiny_usrnet(**start: tuple[float, float]) -> USRNet:
    """Data steps alone: it restores, if roughly, without having been trained; `start` goes to `start_plain`."""
    net = USRNet(**ARCH)
    redraw(net, generator(1, "tiny"))
    start_plain(net, **start)  # pyright: ignore[reportArgumentType]
    return net

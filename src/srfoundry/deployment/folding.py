"""A trained network made cheaper for its export: chains of linear layers become one convolution at the lower size.

A convolution after a pixel shuffle is one of more channels before it, and convolutions without a nonlinearity between
them are one. So what a DRN does between the image and its first nonlinearity, and what DRN, EDSR and SwinIR do behind
their last block, needs no features at the size of the result. The image is the same but for rounding: inside, the chain
is one convolution; the outermost low-resolution pixels, where each layer of a chain pads with zeros anew, are painted
by the layers themselves, on strips that hold all that these pixels see. Checkpoints know nothing of this.
"""

from collections.abc import Callable
from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from srfoundry.networks.sr.drn import DRN, Down, Up
from srfoundry.networks.sr.edsr import EDSR
from srfoundry.networks.sr.multiplications import multiplications
from srfoundry.networks.sr.swinir import SwinIR

FRONT, BACK = 3, 2  # pixels that a chain sees around one: the enlargement and two layers; layers behind the blocks
BORDERS = ((2, True), (2, False), (3, True), (3, False))  # dimension, and whether its first end
COUNTED = 96  # pixels a side of the image for which multiply-adds are compared


def fold(net: nn.Module) -> nn.Module:
    """A network that gives the same images with fewer multiply-adds, or the network itself where there is none.

    Args:
        net: enlarges images; it is left as it is.
    """
    exact = deepcopy(net).cpu().double().eval()
    if isinstance(exact, DRN):
        folded: nn.Module = FoldedDRN(exact)
    elif isinstance(exact, EDSR) or (isinstance(exact, SwinIR) and not exact.direct):
        folded = FoldedTail(exact)
    else:
        return net
    folded = folded.float().eval()
    low = torch.empty(1, 3, COUNTED, COUNTED, device="meta")
    after, before = (multiplications(deepcopy(each).float().to("meta"), low) for each in (folded, net))
    return folded if after < before else net


class FoldedDRN(nn.Module):
    """A DRN without features at the size of its result.

    Args:
        net: in float64; its layers are used further.
    """

    def __init__(self, net: DRN) -> None:
        super().__init__()
        last = net.ups[-1]
        assert isinstance(last, Up)
        self.net, self.step = net, last.step
        self.between = net.scale // last.step  # the size at which the last blocks work, in input pixels
        self.rises = nn.ModuleList([_merged(up) for up in net.ups[:-1] if isinstance(up, Up)])
        self.rise = Rise(last)
        tail = composed(self._paint, 2 * last.merge.out_channels, 1, 1)
        ours = last.merge.out_channels

        def raised(features: Tensor) -> Tensor:
            return functional.conv2d(self.rise(features), tail.weight[:, :ours], tail.bias, padding=1)

        def copied(low: Tensor) -> Tensor:
            image = functional.conv2d(net.head(net.enlarge(low)), tail.weight[:, ours:], padding=1)
            return functional.pixel_unshuffle(image, self.step)

        self.front = composed(lambda low: self._reduce(net.head(net.enlarge(low))), 3, FRONT, self.between)
        self.back = composed(raised, last.spread.in_channels, BACK, self.step)
        self.back.padding = (BACK, BACK)
        self.copy = composed(copied, 3, FRONT, self.between)

    def forward(self, low: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 H W"]:
        """The net's image."""
        between, step, scale = self.between, self.step, self.net.scale
        low = self.net.subtract(low)  # an addition comes first: see graph.plain
        wide = functional.pad(low, (FRONT,) * 4, mode="replicate")
        heads = {(dim, first): self._head(low, dim, first) for dim, first in BORDERS}
        reduced = _shuffled(self.front(wide), between)
        features = self._trunk(framed(reduced, lambda *border: self._reduce(heads[border]), between))
        image = _shuffled(self.back(features) + _shuffled(self.copy(wide), between), step)

        def strip(dim: int, first: bool) -> Tensor:
            """The last layers on one more low-resolution pixel than counts, and on what its neighbour sees."""
            risen = self.rise(_end(features, dim, first, between + 2))
            return self._paint(torch.cat([_end(risen, dim, first, scale + step), heads[dim, first]], dim=1))

        return framed(image, strip, scale)

    def _head(self, low: Tensor, dim: int, first: bool) -> Tensor:
        """The first layer's features along a border, a multiple of the step so that its grid stays."""
        image = self.net.enlarge(_end(low, dim, first, FRONT + 1))
        return self.net.head(_end(image, dim, first, self.net.scale + self.step))

    def _reduce(self, features: Tensor) -> Tensor:
        """The layer before the first nonlinearity."""
        down = self.net.downs[0]
        assert isinstance(down, Down)
        return down.reduce(features)

    def _paint(self, features: Tensor) -> Tensor:
        return self.net.paint(features, -1)

    def _trunk(self, reduced: Tensor) -> Tensor:
        """From the first nonlinearity to the last block."""
        features, copies = reduced, []
        for index, down in enumerate(self.net.downs):
            assert isinstance(down, Down)
            if index:
                copies.append(features)
                features = down.reduce(features)
            features = down.expand(functional.leaky_relu(features, 0.2))
        for index, up in enumerate(self.net.ups):
            assert isinstance(up, Up)
            for block in up.blocks:
                features = block(features)
            if copies:
                features = torch.cat([self.rises[index](features), copies.pop()], dim=1)
        return features


class FoldedTail(nn.Module):
    """A network whose pixel shuffles and last layer, behind its last nonlinearity, are one convolution.

    Args:
        net: in float64; its layers are used further.
    """

    def __init__(self, net: EDSR | SwinIR) -> None:
        super().__init__()
        self.net, self.body, self.scale = net, deepcopy(net), net.scale
        self.body.ups, self.body.steps = nn.ModuleList(), []  # what is left of the trunk
        first = net.ups[0]
        assert isinstance(first, nn.Conv2d)
        self.back = composed(self.finished, first.in_channels, BACK, net.scale)
        self.back.padding = (BACK, BACK)

    def finished(self, features: Tensor) -> Float[Tensor, "b 3 H W"]:
        """The last layers, from the first pixel shuffle's convolution on."""
        for up, step in zip(self.net.ups, self.net.steps, strict=True):
            features = functional.pixel_shuffle(up(features), step)
        return self.net.paint(features, 0)

    def forward(self, low: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 H W"]:
        """The net's image."""
        features = self.body.trunk(self.net.prepare(low))[0]
        image = _shuffled(self.back(features), self.scale)
        return framed(image, lambda dim, first: self.finished(_end(features, dim, first, BACK + 1)), self.scale)


class Rise(nn.Module):
    """The layers of an up phase behind its blocks."""

    def __init__(self, up: Up) -> None:
        super().__init__()
        self.spread, self.merge, self.step = up.spread, up.merge, up.step

    def forward(self, features: Tensor) -> Tensor:
        """Features at the next size."""
        return self.merge(functional.pixel_shuffle(self.spread(features), self.step))


def composed(chain: Callable[[Tensor], Tensor], channels: int, reach: int, factor: int) -> nn.Conv2d:
    """The convolution that a chain of linear layers is, away from the borders; it does not pad.

    Args:
        chain: maps (b, channels, h, w) to (b, c, factor h, factor w) in float64.
        channels: of its input.
        reach: input pixels that it sees around one.
        factor: by which it enlarges; the convolution has factor^2 c channels, in the order of a pixel shuffle.
    """
    side = 4 * reach + 1
    impulses = torch.zeros(channels + 1, channels, side, side, dtype=torch.float64)
    impulses[range(channels), range(channels), 2 * reach, 2 * reach] = 1
    with torch.no_grad():
        answers = functional.pixel_unshuffle(chain(impulses), factor)[:, :, reach:-reach, reach:-reach]
    constant = answers[-1]
    conv = nn.Conv2d(channels, len(constant), 2 * reach + 1, dtype=torch.float64)
    conv.weight.data = (answers[:-1] - constant).flip(2, 3).transpose(0, 1).contiguous()
    conv.bias = nn.Parameter(constant[:, reach, reach].clone())
    return conv


def framed(image: Tensor, strip: Callable[[int, bool], Tensor], rim: int) -> Tensor:
    """An image whose outermost pixels are painted anew, in strips.

    Programs that load a graph of free sizes as if they were zero find sizes of zero throughout.

    Args:
        image: the whole.
        strip: for a border (dimension, whether its first end) the image along it, `rim` rows or columns or more.
        rim: rows and columns that one low-resolution pixel is.
    """
    top, bottom, left, right = (_end(strip(dim, first), dim, first, rim) for dim, first in BORDERS)
    rows = [part[:, :, rim:-rim] for part in (left, image[..., rim:-rim], right)]
    return torch.cat([top, torch.cat(rows, dim=3), bottom], dim=2)


def _end(image: Tensor, dim: int, first: bool, count: int) -> Tensor:
    cut = slice(count) if first else slice(-count, None)
    rows, columns = (cut if each == dim else slice(None) for each in (2, 3))
    return image[:, :, rows, columns]


def _merged(up: Up) -> nn.Module:
    """The same as `Rise`, as one convolution where the 1x1 after the shuffle makes the channels fewer."""
    rise = Rise(up)
    if up.merge.out_channels >= up.merge.in_channels:
        return rise
    conv = composed(rise, up.spread.in_channels, 1, up.step)
    conv.padding = (1, 1)
    return nn.Sequential(conv, nn.PixelShuffle(up.step))


def _shuffled(image: Tensor, factor: int) -> Tensor:
    return functional.pixel_shuffle(image, factor) if factor > 1 else image

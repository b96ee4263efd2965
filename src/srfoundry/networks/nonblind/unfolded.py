"""The learned parts of unfolded kernel estimation: one network guesses the sharp image, one makes taps a kernel.

After Schuler et al. (TPAMI 2016, "Learning to Deblur") and UDKE (Li et al., ECCV 2022): between both stands a closed
form, the least squares of the taps (blind/unfolded/closed_forms.py). The image's network is trained for least squares:
then its errors are uncorrelated with what it returns, and the least squares of the taps stay unbiased.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

SIZE = 31  # taps a side of the kernels
VIEWS = 2  # closed-form images that go into the image's network
FITS = 3  # least squares that go into the kernel's network
LAGS = 2  # autocorrelations that it sees: of differences down and across
FAINT = 0.25  # taps below this part of the largest start as nothing
STEEP = 20.0  # of the softplus that keeps taps positive, in units of 1 / the largest tap


class Unfolded(nn.Module):
    """Both networks, each in two sets of weights: of the first round, and of all that follow.

    Args:
        scales: that it can be applied at.
        widths: channels of the image's network at the low resolution, its half and its quarter.
        kernel_widths: of the kernel's network likewise, at the taps.
    """

    multiple_of = 1

    def __init__(
        self,
        *,
        scales: Sequence[int] = (2, 3, 4),
        widths: Sequence[int] = (32, 64, 96),
        kernel_widths: Sequence[int] = (32, 64, 96),
    ) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.images = nn.ModuleList(
            UNet({f"x{scale}": (VIEWS * scale**2 + 2, scale**2) for scale in scales}, widths) for _ in range(2)
        )
        self.kernels = nn.ModuleList(UNet({"taps": (FITS + LAGS + 3, 1)}, kernel_widths) for _ in range(2))

    def sharpened(
        self, low: Float[Tensor, "b 1 h w"], views: Float[Tensor, "b v H W"], noise: Float[Tensor, " b"], *, turn: int
    ) -> Float[Tensor, "b 1 H W"]:
        """A guess of the sharp image.

        Args:
            low: observed image, of mean 0 and deviation 1.
            views: closed-form images under the kernel so far, the smoothest last.
            noise: standard deviation of `low`.
            turn: the round, from 0.
        """
        scale = views.shape[-1] // low.shape[-1]
        level = noise.view(-1, 1, 1, 1).expand(-1, 1, *low.shape[-2:])
        seen = torch.cat([functional.pixel_unshuffle(views, scale), low, level], dim=1)
        return views[:, -1:] + functional.pixel_shuffle(self.images[min(turn, 1)](seen, f"x{scale}").float(), scale)

    def formed(
        self,
        fits: Float[Tensor, "b f k k"],
        lags: Float[Tensor, "b l k k"],
        kernel: Float[Tensor, "b k k"],
        noise: Float[Tensor, " b"],
        *,
        scale: int,
        turn: int,
    ) -> Float[Tensor, "b k k"]:
        """A kernel, positive and of sum 1, from what least squares say of its taps.

        Args:
            fits: solutions; the second is where the network's own begins.
            lags: autocorrelations of the observed image on the kernel's grid.
            kernel: the one before.
            noise: standard deviation of the image of deviation 1.
            scale: of the enlargement.
            turn: the round, from 0.
        """
        fits = fits / fits.amax(dim=(-2, -1), keepdim=True).clamp_min(1e-6)
        known = torch.stack([noise, torch.full_like(noise, math.log2(scale) - 1)], dim=1)[..., None, None]
        before = kernel[:, None] / kernel.amax(dim=(-2, -1))[:, None, None, None].clamp_min(1e-6)
        seen = torch.cat([fits, lags, before, known.expand(-1, -1, *fits.shape[-2:])], dim=1)
        taps = fits[:, 1:2] + self.kernels[min(turn, 1)](seen, "taps").float()
        positive = functional.softplus(STEEP * taps[:, 0]) / STEEP
        return positive / positive.sum(dim=(-2, -1), keepdim=True)


def start_plain(net: Unfolded) -> None:
    """Make untrained networks return what the closed forms gave: where trainings start."""
    with torch.no_grad():
        for unet in net.modules():
            if isinstance(unet, UNet):
                for tail in unet.tails.values():
                    assert isinstance(tail, nn.Conv2d) and tail.bias is not None
                    tail.weight.zero_()
                    tail.bias.fill_(-FAINT if unet in net.kernels else 0.0)


class UNet(nn.Module):
    """A residual U-Net of two halvings; its head and tail differ by what it is applied to.

    Args:
        ends: channels that enter and leave, by name.
        widths: channels at full, half and quarter size.
    """

    def __init__(self, ends: dict[str, tuple[int, int]], widths: Sequence[int]) -> None:
        super().__init__()
        first, second, third = widths
        self.heads = nn.ModuleDict(
            {name: nn.Conv2d(entering, first, 3, padding=1) for name, (entering, _) in ends.items()}
        )
        self.tails = nn.ModuleDict(
            {name: nn.Conv2d(first, leaving, 3, padding=1) for name, (_, leaving) in ends.items()}
        )
        self.down = nn.ModuleList([nn.Conv2d(first, second, 2, stride=2), nn.Conv2d(second, third, 2, stride=2)])
        self.up = nn.ModuleList([nn.Conv2d(third, 4 * second, 1), nn.Conv2d(second, 4 * first, 1)])
        self.before = nn.ModuleList([Block(first), Block(second)])
        self.middle = nn.Sequential(Block(third), Block(third))
        self.after = nn.ModuleList([Block(second), Block(first)])

    def forward(self, image: Float[Tensor, "b c h w"], name: str) -> Float[Tensor, "b d h w"]:
        """The network between the ends of this name; borders are repeated to a multiple of 4."""
        height, width = image.shape[-2:]
        seen = functional.pad(image, (0, -width % 4, 0, -height % 4), mode="replicate")
        full = self.before[0](self.heads[name](seen.contiguous(memory_format=torch.channels_last)))
        half = self.before[1](self.down[0](full))
        deep = self.middle(self.down[1](half))
        half = self.after[0](half + functional.pixel_shuffle(self.up[0](deep), 2))
        full = self.after[1](full + functional.pixel_shuffle(self.up[1](half), 2))
        return self.tails[name](full)[..., :height, :width]


class Block(nn.Module):
    """x + conv(relu(conv(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return features + self.body(features)

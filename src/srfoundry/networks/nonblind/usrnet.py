"""USRNet (Zhang, Van Gool and Timofte, CVPR 2020): non-blind super-resolution for any kernel, whole scale and noise.

Half-quadratic splitting unrolled: a closed-form data step under the blur, and a small U-Net that denoises, in turns.
The data step holds all the physics, so one set of weights serves every kernel.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from srfoundry.core.checkpointing import CheckpointedBlock
from srfoundry.core.compute import autocast, is_gpu
from srfoundry.degradation.aliasing import fold, transfer, unfold


class USRNet(nn.Module):
    """Low-resolution image, kernel and noise in, image out; 590,332 parameters at the defaults ("tiny").

    Args:
        widths: channels of the U-Net at full, half, quarter and eighth size (USRNet: 64, 128, 256, 512).
        blocks: residual blocks a size.
        iterations: data steps, each followed by the U-Net, whose weights are shared.
        residual: the U-Net's output is added to its input (USRNet: no); short trainings need it.

    Attributes:
        precision: of the U-Net's hidden layers (`ResUNet.forward`), whatever the rest computes with.
    """

    multiple_of = 1

    def __init__(
        self,
        *,
        widths: Sequence[int] = (16, 32, 64, 64),
        blocks: int = 2,
        iterations: int = 6,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.iterations, self.residual, self.precision = iterations, residual, "float32"
        self.denoiser = ResUNet(widths, blocks)
        self.schedule = nn.Sequential(
            nn.Conv2d(2, 32, 1), nn.ReLU(), nn.Conv2d(32, 32, 1), nn.ReLU(), nn.Conv2d(32, 2 * iterations, 1)
        )

    @property
    def plain(self) -> bool:
        """Whether it does nothing but data steps, as after `start_plain`."""
        return self.residual and not bool(self.denoiser.tail.weight.any())

    @property
    def _idle(self) -> bool:
        """Whether the denoiser adds nothing, and does not learn to; a GPU, which to ask would wait for, may add it."""
        weight = self.denoiser.tail.weight
        learns = torch.is_grad_enabled() and weight.requires_grad
        return not learns and not is_gpu(weight.device) and self.plain

    def forward(
        self,
        low: Float[Tensor, "b 3 h w"],
        kernel: Float[Tensor, "n k k"],
        scale: int,
        noise: Float[Tensor, " _"] | float = 0.0,
    ) -> Float[Tensor, "m 3 H W"]:
        """Enlarge by `scale`; the observed image is taken to be periodic, as its Fourier transform is.

        Args:
            kernel: a correlation about its middle tap; gradients pass. One image may have many kernels
                (b = 1), or one kernel serve all images (n = 1); m is the larger of both numbers.
            noise: standard deviation of the noise of `low`, range [0, 1].
        """
        count = max(len(low), len(kernel))
        level = torch.as_tensor(noise, device=low.device).float().expand(count)
        alphas, betas = self.strengths(level, scale)
        seen = PeriodicObservation(low.float(), kernel.float(), scale)
        image = functional.interpolate(low.float(), scale_factor=scale, mode="nearest").expand(count, -1, -1, -1)
        idle = self._idle
        for alpha, beta in zip(alphas, betas, strict=True):
            image = seen.data_step(image, alpha)
            if idle:
                continue
            conditioned = torch.cat([image, beta.expand(len(image), -1, *image.shape[-2:])], dim=1)
            cleaned = self.denoiser(conditioned, self.precision).float()
            image = image + cleaned if self.residual else cleaned
        return image

    def strengths(self, noise: Float[Tensor, " b"], scale: int) -> tuple[list[Tensor], list[Tensor]]:
        """alpha of each data step and beta of each denoising, `b 1 1 1` (USRNet's hyper-parameter module)."""
        inputs = torch.stack([noise, torch.full_like(noise, scale)], dim=1)[:, :, None, None]
        with torch.autocast(noise.device.type, enabled=False):
            both = functional.softplus(self.schedule(inputs)) + 1e-6
        parts = both.split(1, dim=1)
        return list(parts[: self.iterations]), list(parts[self.iterations :])


KNOTS = (0.0, 0.003, 0.006, 0.0125, 0.025, 0.05, 0.1)  # noise between which an untrained net's alphas are exact
SPREAD = 0.004  # variance of what a photograph has beyond the pixels of its low-resolution image, range [0, 1]


def start_plain(net: USRNet, *, alphas: tuple[float, float] = (1e-4, 2e-3)) -> None:
    """Make an untrained residual net do nothing but data steps: where short trainings start, and none stays.

    One data step is best with alpha = noise^2 / SPREAD, n of them with n times that; without noise it is limited by
    rounding and by what a kernel's zeros allow.

    Args:
        alphas: of the first and the last iteration, without noise.
    """
    least = torch.logspace(math.log10(alphas[0]), math.log10(alphas[1]), net.iterations)
    knots = torch.tensor(KNOTS)
    wanted = least[:, None] + net.iterations * knots.square() / SPREAD
    wanted = wanted.expm1().log()  # before softplus, at each knot
    slopes = torch.cat([torch.zeros(net.iterations, 1), wanted.diff(dim=1) / knots.diff()], dim=1).diff(dim=1)
    units, count = len(KNOTS) - 1, net.iterations
    with torch.no_grad():
        net.denoiser.tail.weight.zero_()
        first, middle, last = (layer for layer in net.schedule if isinstance(layer, nn.Conv2d))
        assert first.bias is not None and middle.bias is not None and last.bias is not None
        first.weight[:units] = first.weight.new_tensor([1.0, 0.0])[:, None, None]  # relu(noise - knot)
        first.bias[:units] = -knots[:-1]
        middle.weight[:units] = torch.eye(units, middle.in_channels)[:, :, None, None]
        middle.bias[:units] = 0.0
        last.weight[:count] = 0.0
        last.weight[:count, :units, 0, 0] = slopes
        last.bias[:count] = wanted[:, 0]
        last.bias[count:] = 0.0


class PeriodicObservation:
    """One low-resolution image under one kernel, transformed once for all data steps.

    Args:
        low: `b 3 h w`. kernel: `n k k`; b or n may be 1, and then serves all of the other.
    """

    def __init__(self, low: Float[Tensor, "b c h w"], kernel: Float[Tensor, "n k k"], scale: int) -> None:
        self.scale, self.size = scale, (scale * low.shape[-2], scale * low.shape[-1])
        self.gain = transfer(kernel, self.size)[:, None]
        spread = low.new_zeros(*low.shape[:2], *self.size)
        spread[..., ::scale, ::scale] = low
        self.back = self.gain.conj() * torch.fft.rfft2(spread)
        self.power = self._fold(self.gain.abs().square())

    def data_step(self, image: Float[Tensor, "m c H W"], alpha: Float[Tensor, "m 1 1 1"]) -> Float[Tensor, "m c H W"]:
        """argmin over x of |(x * k) down_s - low|^2 + alpha |x - image|^2, exactly (USRNet eq. 7)."""
        right = self.back + alpha * torch.fft.rfft2(image)
        folded = self._fold(self.gain * right) / (self.power + alpha)
        aliases = unfold(folded, self.scale, self.size[1] // self.scale)
        return torch.fft.irfft2((right - self.gain.conj() * aliases) / alpha, s=self.size)

    def reduce(self, image: Float[Tensor, "m c H W"]) -> Float[Tensor, "m c h w"]:
        """(x * k) down_s with periodic borders."""
        seen = self._fold(self.gain * torch.fft.rfft2(image))
        return torch.fft.irfft2(seen, s=[extent // self.scale for extent in self.size])

    def _fold(self, spectrum: Tensor) -> Tensor:
        return fold(spectrum, self.scale, self.size[1] // self.scale)


class ResUNet(nn.Module):
    """The denoiser: image and a map of its noise in, image out; three halvings, sums instead of concatenations."""

    def __init__(self, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.head = _conv(4, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(*_blocks(wide, blocks), nn.Conv2d(wide, deep, 2, stride=2, bias=False))
            for wide, deep in pairs
        )
        self.body = nn.Sequential(*_blocks(widths[-1], blocks))
        self.up = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(deep, wide, 2, stride=2, bias=False), *_blocks(wide, blocks))
            for wide, deep in pairs
        )
        self.tail = _conv(widths[0], 3)

    def forward(self, image: Float[Tensor, "b 4 h w"], precision: str = "float32") -> Float[Tensor, "b 3 h w"]:
        """Denoise.

        Args:
            image: with its map.
            precision: of all layers but the first and the last: rounding to bfloat16 inside moves the image by 0.1 of
                255, in all layers by 0.3.
        """
        height, width = image.shape[-2:]
        unit = 2 ** len(self.down)
        room = (0, math.ceil(width / unit) * unit - width, 0, math.ceil(height / unit) * unit - height)
        padded = functional.pad(image, room, mode="replicate").contiguous(memory_format=torch.channels_last)
        features = [self.head(padded)]
        with autocast(image.device, precision):
            for down in self.down:
                features.append(down(features[-1]))
            deep = self.body(features[-1])
            for up, skipped in zip(reversed(self.up), reversed(features), strict=False):
                deep = up(deep + skipped)
        return self.tail(deep + features[0])[..., :height, :width]


class Block(CheckpointedBlock):
    """x + conv(relu(conv(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(width, width), nn.ReLU(), _conv(width, width))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return features + self.body(features)


def from_authors(state: dict[str, Tensor]) -> USRNet:
    """The published weights (KAIR's names: p. the denoiser, h. the hyper-parameters) as one of our nets.

    Raises:
        RuntimeError: names or shapes are not USRNet's.
    """
    widths = [state[f"p.m_{name}.weight"].shape[axis] for name, axis in (("head", 0), ("down2.2", 1), ("down3.2", 1))]
    widths.append(state["p.m_down3.2.weight"].shape[0])
    names: dict[str, Tensor] = {}
    for name, value in state.items():
        for old, new in _RENAMED:
            if name.startswith(old):
                names[(new + name[len(old) :]).replace(".res.", ".body.")] = value
                break
        else:
            names[name] = value
    blocks = 1 + max(int(name.split(".")[2]) for name in names if name.startswith("denoiser.body."))
    net = USRNet(widths=widths, blocks=blocks, iterations=state["h.mlp.4.bias"].numel() // 2)
    net.load_state_dict(names)
    return net


_RENAMED = [
    ("p.m_head.", "denoiser.head."),
    ("p.m_tail.", "denoiser.tail."),
    ("p.m_body.", "denoiser.body."),
    *((f"p.m_down{level + 1}.", f"denoiser.down.{level}.") for level in range(3)),
    *((f"p.m_up{level + 1}.", f"denoiser.up.{level}.") for level in range(3)),
    ("h.mlp.", "schedule."),
]


def _conv(entering: int, leaving: int) -> nn.Conv2d:
    return nn.Conv2d(entering, leaving, 3, padding=1, bias=False)


def _blocks(width: int, count: int) -> list[Block]:
    return [Block(width) for _ in range(count)]

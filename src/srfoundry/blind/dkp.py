"""Dynamic kernel prior (Yang et al., CVPR 2024): estimate kernel and image of one low-resolution image together.

Each outer iteration t does the paper's three steps:
  RKS  draw random kernels and weigh them by p(k | y): k_hat = sum w k;
  IR   improve the image x = G_x(z_x), an untrained network, with the kernel held;
  PKE  improve the kernel k = G_k(z_k) by Langevin dynamics over G_k's weights, on the sum of the data term and of the
       distance to k_hat.
Here both terms of PKE enter one optimiser step, balanced by the norms of their gradients, strong prior first and weaker
prior last. In the authors' program they are two steps with shared moments, in which the prior is lost; and its weights
come from the error of one image estimate, where ours integrate the image out (see `spectrum`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.blind.losses import divergence, hyper_laplacian, ssim_loss
from srfoundry.blind.prior import GaussianPrior, KernelGenerator, Population
from srfoundry.blind.spectrum import SpectralLikelihood
from srfoundry.conventions import Border
from srfoundry.degrade import Decimation, degrade
from srfoundry.errors import Diverged, FoundryError
from srfoundry.networks.skip import Skip, draw

Log = Callable[[int, dict[str, float]], None]
Row = dict[str, float]
WARM_UP = 100  # steps that bring G_k to the prior's mean
LEAST = 24.0  # draws that must carry the weight, see Population.weigh


@dataclass(frozen=True)
class Settings:
    """The values of one estimation, as in params.yaml, section estimate.

    kernel_size: taps a side, odd. variances: least and largest of the prior, in multiples of the scale (px^2).
    iterations: T. draws: random kernels an iteration. temperature: of the weights; above 1 as tiles overlap.
    image_steps, kernel_steps: IR and PKE steps an iteration. image_rate, kernel_rate: of Adam.
    prior_strength: |lambda grad prior| / |grad data|, first and last iteration. langevin: noise on G_k's weights, in
    units of sqrt(2 rate). window: low-resolution pixels a side that G_x sees. width, levels: G_x's size.
    noise, tile, keep, exponent, softness: see `SpectralLikelihood`.
    """

    kernel_size: int
    variances: Sequence[float]
    iterations: int
    draws: int
    temperature: float
    image_steps: int
    kernel_steps: int
    image_rate: float
    kernel_rate: float
    prior_strength: Sequence[float]
    langevin: float
    window: int
    width: int
    levels: int
    noise: float
    tile: int
    keep: float
    exponent: Sequence[float]
    softness: float

    def prior(self, scale: int) -> GaussianPrior:
        """The kernels that are thought possible before the image is seen."""
        return GaussianPrior(self.kernel_size, self.variances[0] * scale, self.variances[1] * scale)


@dataclass(frozen=True)
class Estimate:
    """What one low-resolution image tells.

    `restored` is G_x's image of the window `box` (top, left, height, width in low-resolution pixels), or None if there
    were no image steps; `history` has a row for each outer iteration.
    """

    kernel: Float[Tensor, "1 k k"]
    restored: Float[Tensor, "1 3 H W"] | None
    box: tuple[int, int, int, int]
    history: list[Row]


def estimate(
    low: Float[Tensor, "1 3 h w"],
    *,
    scale: int,
    settings: Settings,
    rng: torch.Generator,
    decimation: Decimation = "direct",
    border: Border = "reflect",
    log: Log = lambda step, values: None,
) -> Estimate:
    """Estimate the blur kernel of `low` (range [0, 1], any device) from `low` alone.

    Args:
        rng: a CPU generator; the same state gives the same bytes.
        log: hears of each outer iteration: losses, draws that carry the weight, and their temperature.

    Raises:
        FoundryError: the image is too small. Diverged: a loss is not finite.
    """
    prior = settings.prior(scale)
    if min(low.shape[-2:]) * scale <= prior.size:
        sizes = f"{low.shape[-2]}x{low.shape[-1]} at scale {scale}"
        raise FoundryError(f"image of {sizes} is too small for a {prior.size}x{prior.size} kernel; give a larger one")
    low = low.float()
    box = busiest(low, settings.window)
    seen = low[..., box[0] : box[0] + box[2], box[1] : box[1] + box[3]]
    sampling = _Sampling(low, scale, prior, settings, rng)
    kernel_net = _KernelNet(prior, settings, rng, low.device)
    image_net = _ImageNet(seen, scale, settings, rng) if settings.image_steps else None

    def data(kernel: Tensor, image: Tensor) -> Tensor:
        return ssim_loss(degrade(image, kernel, scale, decimation=decimation, border=border), seen)

    history: list[Row] = []
    for iteration in range(settings.iterations):
        share = iteration / max(1, settings.iterations - 1)
        k_hat, row = sampling.improve()
        image = None
        if image_net is not None:
            row |= image_net.improve(kernel_net.kernel().detach(), data)
            image = image_net.image()
        row |= kernel_net.improve(k_hat, image, data, share)
        if not all(math.isfinite(value) for value in row.values()):
            raise Diverged(f"kernel estimation: got {row} in iteration {iteration + 1}; lower estimate.kernel_rate")
        history.append({"step": float(iteration + 1), **row})
        log(iteration + 1, row)
    restored = None if image_net is None else image_net.image()
    return Estimate(kernel_net.kernel().detach(), restored, box, history)


class _Sampling:
    """RKS: draws that adapt to the image, and their weighted mean."""

    def __init__(self, low: Tensor, scale: int, prior: GaussianPrior, settings: Settings, rng: torch.Generator) -> None:
        self.likelihood = SpectralLikelihood(
            low,
            scale,
            noise=settings.noise,
            tile=settings.tile,
            keep=settings.keep,
            exponent=settings.exponent,
            softness=settings.softness,
        )
        self.population = Population(prior)
        self.settings, self.rng, self.device = settings, rng, low.device

    def improve(self) -> tuple[Float[Tensor, "1 k k"], Row]:
        """k_hat over all draws so far, this iteration's included."""
        population = self.population
        shapes = population.draw(self.settings.draws, rng=self.rng)
        scores = self.likelihood(population.prior.kernels(shapes).to(self.device)).cpu()
        k_hat = population.weigh(shapes, scores, temperature=self.settings.temperature, least=LEAST)
        row = {"draws": population.effective(), "temperature": population.temperature}
        return k_hat.float().to(self.device), row


class _ImageNet:
    """G_x with its code and optimiser: the IR step."""

    def __init__(self, seen: Tensor, scale: int, settings: Settings, rng: torch.Generator) -> None:
        width = settings.width
        net = draw(
            lambda: Skip(width=width, skip=max(1, width // 8), levels=settings.levels), rng=rng, device=seen.device
        )
        # pyright knows no overload with a memory format alone
        self.net = net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        code = 0.1 * torch.rand(1, 3, *(scale * extent for extent in seen.shape[-2:]), generator=rng)
        self.code = code.to(seen.device, memory_format=torch.channels_last)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=settings.image_rate)
        self.steps, self.low_values = settings.image_steps, seen.numel()

    def image(self) -> Float[Tensor, "1 3 H W"]:
        with torch.no_grad():
            return self.net(self.code)

    def improve(self, kernel: Tensor, data: Callable[[Tensor, Tensor], Tensor]) -> Row:
        """Steps on data + R(x), the kernel held."""
        loss = kernel.new_zeros(())
        for _ in range(self.steps):
            self.optimiser.zero_grad()
            image = self.net(self.code)
            loss = data(kernel, image) + hyper_laplacian(image, self.low_values)
            loss.backward()
            self.optimiser.step()
        return {"image": float(loss.detach())}


class _KernelNet:
    """G_k with its code and optimiser: the PKE step."""

    def __init__(self, prior: GaussianPrior, settings: Settings, rng: torch.Generator, device: torch.device) -> None:
        self.net = draw(lambda: KernelGenerator(prior.size), rng=rng, device=device)
        self.code = 0.1 * torch.rand(200, generator=rng).to(device)
        self.settings, self.rng = settings, rng
        self.weights = list(self.net.parameters())
        self.optimiser = torch.optim.Adam(self.weights, lr=settings.kernel_rate)
        mean = prior.mean().float().to(device)
        for _ in range(WARM_UP):
            self.optimiser.zero_grad()
            divergence(mean, self.kernel()).backward()
            self.optimiser.step()

    def kernel(self) -> Float[Tensor, "1 k k"]:
        return self.net(self.code)

    def improve(
        self, k_hat: Tensor, image: Tensor | None, data: Callable[[Tensor, Tensor], Tensor], share: float
    ) -> Row:
        """Langevin steps along -grad [data + lambda prior], lambda = strength |grad data| / |grad prior|."""
        start, end = self.settings.prior_strength
        strength = start ** (1 - share) * end**share
        rate = self.settings.kernel_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))
        self.optimiser.param_groups[0]["lr"] = rate
        row: Row = {}
        for _ in range(self.settings.kernel_steps):
            kernel = self.kernel()
            prior_loss = divergence(k_hat, kernel)
            slope = torch.autograd.grad(prior_loss, self.weights, retain_graph=image is not None)
            row = {"prior": float(prior_loss.detach())}
            if image is not None:
                data_loss = data(kernel, image)
                pull, slope = slope, torch.autograd.grad(data_loss, self.weights)
                balance = strength * _length(slope) / _length(pull).clamp_min(1e-12)
                slope = [part + balance * other for part, other in zip(slope, pull, strict=True)]
                row["data"] = float(data_loss.detach())
            for weight, part in zip(self.weights, slope, strict=True):
                weight.grad = part
            self.optimiser.step()
            self._shake(self.settings.langevin * math.sqrt(2 * rate))
        return row

    def _shake(self, deviation: float) -> None:
        if deviation > 0:
            with torch.no_grad():
                for weight in self.weights:
                    weight += deviation * torch.randn(weight.shape, generator=self.rng).to(weight.device)


def busiest(low: Float[Tensor, "1 c h w"], window: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of the window with the most gradient energy."""
    height, width = (min(window, extent) for extent in low.shape[-2:])
    grey = low.mean(dim=1, keepdim=True)
    down = functional.pad(grey.diff(dim=-2) ** 2, (0, 0, 0, 1))
    across = functional.pad(grey.diff(dim=-1) ** 2, (0, 1, 0, 0))
    sums = functional.avg_pool2d((down + across).double(), (height, width), stride=4)[0, 0]
    row, column = divmod(int(sums.argmax()), sums.shape[1])
    return 4 * row, 4 * column, height, width


def _length(parts: Sequence[Tensor]) -> Float[Tensor, ""]:
    return torch.stack([part.norm() for part in parts]).norm()

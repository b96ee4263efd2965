"""Dynamic kernel prior (Yang et al., CVPR 2024): estimate the kernel and the image of one low-resolution image together.

Each outer iteration t does the paper's three steps:
  RKS  draw random kernels and weigh them by p(k | y): k_hat = sum w k;
  IR   improve the image x = G_x(z_x), an untrained network, with the kernel held;
  PKE  improve the kernel k = G_k(z_k) by Langevin dynamics over G_k's weights, on the sum of the data term and of the
       distance to k_hat.
Here both terms of PKE enter one optimiser step, balanced by the norms of their gradients, strong prior first and weak
prior last. In the authors' program they are two steps with shared moments, in which the prior is lost; and its weights
come from the error of one image estimate, where ours integrate the image out (see `spectrum`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.blind.prior import GaussianPrior, KernelGenerator, Population
from srfoundry.blind.spectrum import SpectralLikelihood
from srfoundry.degrade import Border, Decimation, degrade
from srfoundry.errors import Diverged, FoundryError
from srfoundry.networks.skip import Skip, draw

Log = Callable[[int, dict[str, float]], None]
Row = dict[str, float]


@dataclass(frozen=True)
class Estimate:
    """What one low-resolution image tells.

    `restored` is the image of the DIP network for the window `box` (top, left, height, width in low-resolution
    pixels), or None without image steps; `history` has a row for each outer iteration.
    """

    kernel: Float[Tensor, "1 k k"]
    restored: Float[Tensor, "1 3 H W"] | None
    box: tuple[int, int, int, int]
    history: list[Row]


def estimate(
    low: Float[Tensor, "1 3 h w"],
    *,
    scale: int,
    prior: GaussianPrior,
    rng: torch.Generator,
    iterations: int,
    draws: int,
    temperature: tuple[float, float],
    image_steps: int,
    kernel_steps: int,
    image_rate: float,
    kernel_rate: float,
    prior_strength: tuple[float, float],
    langevin: float,
    window: int,
    width: int,
    levels: int,
    noise: float,
    tile: int,
    keep: float,
    exponent: tuple[float, float],
    softness: float,
    decimation: Decimation = "direct",
    border: Border = "reflect",
    log: Log = lambda step, values: None,
) -> Estimate:
    """Estimate the blur kernel of `low` (range [0, 1], any device); neither the sharp image nor the kernel is known.

    Args:
        rng: a CPU generator; the same state gives the same bytes.
        iterations: outer iterations T. draws: random kernels of each.
        temperature: of the weights, first and last iteration; above 1 because tiles are not quite independent.
        image_steps, kernel_steps: IR and PKE steps an outer iteration. image_rate, kernel_rate: of Adam.
        prior_strength: |lambda grad prior| / |grad data| in the first and the last iteration.
        langevin: scale of the noise added to G_k's weights; 1 is the Langevin step sqrt(2 rate), 0 none.
        window: low-resolution pixels a side that the image network sees. width, levels: its size.
        noise, tile, keep, exponent, softness: see `SpectralLikelihood`.

    Raises:
        FoundryError: the image is too small. Diverged: a loss is not finite.
    """
    if min(low.shape[-2:]) * scale <= prior.size:
        raise FoundryError(f"image of {low.shape[-2]}x{low.shape[-1]} is too small for a {prior.size}x{prior.size} kernel")
    low, device = low.float(), low.device
    likelihood = SpectralLikelihood(
        low, scale, noise=noise, tile=tile, keep=keep, exponent=exponent, softness=softness
    )
    population = Population(prior)
    kernel_net = _KernelNet(prior, rng, device, kernel_rate, langevin)
    box = busiest(low, window)
    seen = low[..., box[0] : box[0] + box[2], box[1] : box[1] + box[3]]
    image_net = _ImageNet(seen, scale, rng, width, levels, image_rate) if image_steps else None
    history: list[Row] = []
    for iteration in range(iterations):
        share = iteration / max(1, iterations - 1)
        shapes = population.draw(draws, rng=rng)
        scores = likelihood(prior.kernels(shapes).to(device)).cpu()
        k_hat = population.weigh(shapes, scores, _geometric(share, *temperature)).float().to(device)
        row: Row = {"draws": population.effective()}

        def data(kernel: Tensor, image: Tensor) -> Tensor:
            return 1 - ssim(degrade(image, kernel, scale, decimation=decimation, border=border), seen)

        if image_net is not None:
            fixed = kernel_net.kernel().detach()
            row["image"] = image_net.improve(lambda image: data(fixed, image), image_steps)
            image = image_net.image()
            term = lambda kernel: data(kernel, image)  # noqa: E731
        else:
            term = None
        row |= kernel_net.improve(term, k_hat, _geometric(share, *prior_strength), kernel_steps, share)
        if not all(math.isfinite(value) for value in row.values()):
            raise Diverged(f"kernel estimation: {row} at iteration {iteration}; lower the rates in params.yaml")
        history.append({"step": float(iteration + 1), **row})
        log(iteration + 1, row)
    restored = None if image_net is None else image_net.image()
    return Estimate(kernel_net.kernel().detach(), restored, box, history)


class _KernelNet:
    """G_k with its code and optimiser: the PKE step."""

    def __init__(
        self, prior: GaussianPrior, rng: torch.Generator, device: torch.device, rate: float, langevin: float
    ) -> None:
        self.net = draw(lambda: KernelGenerator(prior.size), rng=rng, device=device)
        self.code = 0.1 * torch.rand(200, generator=rng).to(device)
        self.rate, self.langevin, self.rng = rate, langevin, rng
        self.weights = list(self.net.parameters())
        self.optimiser = torch.optim.Adam(self.weights, lr=rate)
        mean = prior.mean().float().to(device)
        for _ in range(WARM_UP):  # G_k starts at the prior's mean kernel
            self.optimiser.zero_grad()
            divergence(mean, self.kernel()).backward()
            self.optimiser.step()

    def kernel(self) -> Float[Tensor, "1 k k"]:
        return self.net(self.code)

    def improve(
        self, data: Callable[[Tensor], Tensor] | None, k_hat: Tensor, strength: float, steps: int, share: float
    ) -> Row:
        """Langevin updates of the weights: -grad [data + lambda prior], lambda = strength |grad data| / |grad prior|."""
        row: Row = {}
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * (0.5 * (1 + math.cos(math.pi * share)) * 0.95 + 0.05)
        for _ in range(steps):
            kernel = self.kernel()
            prior_loss = divergence(k_hat, kernel)
            prior_slope = torch.autograd.grad(prior_loss, self.weights, retain_graph=data is not None)
            slope = prior_slope
            row["prior"] = float(prior_loss.detach())
            if data is not None:
                data_loss = data(kernel)
                data_slope = torch.autograd.grad(data_loss, self.weights)
                weight = strength * _norm(data_slope) / _norm(prior_slope).clamp_min(1e-12)
                slope = [part + weight * pull for part, pull in zip(data_slope, prior_slope, strict=True)]
                row["data"] = float(data_loss.detach())
            for parameter, part in zip(self.weights, slope, strict=True):
                parameter.grad = part
            self.optimiser.step()
            if self.langevin:
                self._shake()
        return row

    def _shake(self) -> None:
        scale = self.langevin * math.sqrt(2 * self.rate)
        with torch.no_grad():
            for parameter in self.weights:
                parameter += scale * torch.randn(parameter.shape, generator=self.rng).to(parameter)


class _ImageNet:
    """G_x with its code and optimiser: the IR step."""

    def __init__(
        self, seen: Tensor, scale: int, rng: torch.Generator, width: int, levels: int, rate: float
    ) -> None:
        net = draw(lambda: Skip(width=width, skip=max(4, width // 8), levels=levels), rng=rng, device=seen.device)
        self.net = net.to(memory_format=torch.channels_last)
        size = [scale * extent for extent in seen.shape[-2:]]
        code = 0.1 * torch.rand(1, 3, *size, generator=rng)
        self.code = code.to(seen.device, memory_format=torch.channels_last)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=rate)

    def image(self) -> Float[Tensor, "1 3 H W"]:
        with torch.no_grad():
            return self.net(self.code)

    def improve(self, data: Callable[[Tensor], Tensor], steps: int) -> float:
        loss = torch.zeros(())
        for _ in range(steps):
            self.optimiser.zero_grad()
            image = self.net(self.code)
            loss = data(image) + hyper_laplacian(image)
            loss.backward()
            self.optimiser.step()
        return float(loss.detach())


WARM_UP = 100


def divergence(target: Float[Tensor, "1 k k"], kernel: Float[Tensor, "1 k k"]) -> Float[Tensor, ""]:
    """KL(target || kernel): its gradient at the softmax is kernel - target, well scaled for any kernel size."""
    return (target * ((target + 1e-12).log() - (kernel + 1e-12).log())).sum()


def ssim(a: Float[Tensor, "1 c h w"], b: Float[Tensor, "1 c h w"]) -> Float[Tensor, ""]:
    """Structural similarity as a loss: range [0, 1], Gaussian window 11 of deviation 1.5, zeros beyond the border."""
    axis = torch.arange(-5, 6, device=a.device, dtype=a.dtype)
    window = torch.exp(-(axis**2) / (2 * 1.5**2))
    window = window / window.sum()
    stack = torch.cat([a, b, a * a, b * b, a * b])
    flat = stack.flatten(0, 1).unsqueeze(1)
    flat = functional.conv2d(flat, window.view(1, 1, -1, 1), padding=(5, 0))
    flat = functional.conv2d(flat, window.view(1, 1, 1, -1), padding=(0, 5))
    mean_a, mean_b, aa, bb, ab = flat.view_as(stack)
    c1, c2 = 0.01**2, 0.03**2
    ratio = (2 * mean_a * mean_b + c1) * (2 * (ab - mean_a * mean_b) + c2)
    return (ratio / ((mean_a**2 + mean_b**2 + c1) * (aa - mean_a**2 + bb - mean_b**2 + c2))).mean()


def hyper_laplacian(image: Float[Tensor, "1 c h w"], weight: float = 2e-4) -> Float[Tensor, ""]:
    """R(x) of DKP: weight * mean over pixels of sum over four directions of (|x(p) - x(p + d)| + 1e-8)^0.67."""
    pairs = (
        image[..., 1:, :] - image[..., :-1, :],
        image[..., :, 1:] - image[..., :, :-1],
        image[..., 1:, 1:] - image[..., :-1, :-1],
        image[..., 1:, :-1] - image[..., :-1, 1:],
    )
    total = torch.stack([((pair.abs() + 1e-8) ** 0.67).sum() for pair in pairs]).sum()
    return weight * total / image.numel()


def busiest(low: Float[Tensor, "1 c h w"], window: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of the window with the most gradient energy."""
    height, width = (min(window, extent) for extent in low.shape[-2:])
    grey = low.mean(dim=1, keepdim=True)
    energy = functional.pad(grey.diff(dim=-2) ** 2, (0, 0, 0, 1)) + functional.pad(grey.diff(dim=-1) ** 2, (0, 1, 0, 0))
    sums = functional.avg_pool2d(energy.double(), (height, width), stride=4)[0, 0]
    row, column = divmod(int(sums.argmax()), sums.shape[1])
    return 4 * row, 4 * column, height, width


def _norm(parts: tuple[Tensor, ...]) -> Tensor:
    return torch.stack([part.norm() for part in parts]).norm()


def _geometric(share: float, start: float, end: float) -> float:
    return start ** (1 - share) * end**share

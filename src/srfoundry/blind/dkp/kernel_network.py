"""What the methods of kernel estimation share: their settings, what they return, and the blocks that take turns.

  RKS  `Sampling` draws random kernels and weighs them by p(k | y): k_hat = sum w k;
  IR   `ImageNet` improves the image x = G_x(z_x), an untrained network, with the kernel held;
  PKE  `KernelNet` improves the kernel k = G_k(z_k) on the data term and on its distance to k_hat.

`dkp` and `mlmc` are the order in which their papers call these. Inside a block nothing waits for the device: losses
become numbers once an outer iteration. Settings and blocks stand in one file, though it is long: a value's line and its
use are read together.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.blind.dkp import forms, motion_families
from srfoundry.blind.dkp.cuda_graph import Capture, Replay
from srfoundry.blind.dkp.families import Family, GaussianPrior, Population, Score
from srfoundry.blind.dkp.forms import Form
from srfoundry.blind.dkp.likelihood import SpectralLikelihood
from srfoundry.blind.dkp.losses import divergence, hyper_laplacian
from srfoundry.blind.dkp.mcmc import Chains
from srfoundry.blind.dkp.stop import Rule
from srfoundry.core.errors import Diverged, FoundryError
from srfoundry.degradation import conventions, kernels
from srfoundry.degradation.operator import degrade
from srfoundry.networks.nonblind.dip_unet import Skip, draw

Log = Callable[[int, dict[str, float]], None]
Row = dict[str, float]
Losses = dict[str, Tensor]
Data = Callable[[Tensor, Tensor], Tensor]  # (kernel, image) -> the data term
WARM_UP = 100  # steps that bring G_k to the prior's mean
LEAST = 24.0  # draws that must carry the weight, see Population.weigh
FADING = 5.0  # R(x) under `fade` has this weight per squared residual, in units of its plain weight (MLMC's 5e-3)
STILL = 0.02  # pixels off the middle that are not worth moving an image for


@dataclass(frozen=True)
class Settings:
    """The values of one estimation, as in params.yaml, section estimate.

    kernel_size: taps a side, odd. variances: least and largest of the prior, in multiples of the scale (px^2).
    iterations: T. draws: random kernels an iteration. temperature: of the weights; above 1 as tiles overlap.
    image_steps, kernel_steps: IR and PKE steps an iteration. image_rate, kernel_rate: of Adam.
    prior_strength: |lambda grad prior| / |grad data|, first and last iteration. langevin: noise on G_k's weights, in
    units of sqrt(2 rate). window: low-resolution pixels a side that G_x sees. width, levels: G_x's size.
    noise, tile, keep, exponent, softness: see `SpectralLikelihood`.

    family: of the random kernels: gaussian | line | trajectory | bank (of kernels that are handed over). sampler:
    population | chains. likelihood: of the weights: spectrum (image integrated out) | residual (of the image so far).
    form: of the kernel that is learned: network | taps | family.
    updates, rounds: L and Q of MLMC, whose `image_steps` is P. learned: MLMC's kernel step is a learned optimiser's.
    stop, patience: see `stop.Watch`. fade: R(x)'s weight falls with the residual (noise-aware). bfloat16: of G_x alone.
    capture: none | graph (one CUDA graph of the inner step) | compile. recentre: move the kernel to the middle at last.
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
    family: Literal["gaussian", "line", "trajectory", "bank"] = "gaussian"
    sampler: Literal["population", "chains"] = "population"
    likelihood: Literal["spectrum", "residual"] = "spectrum"
    form: Form = "network"
    updates: int = 4
    rounds: int = 2
    learned: bool = False
    stop: Rule = "none"
    patience: int = 10
    fade: bool = False
    bfloat16: bool = False
    capture: Capture = "none"
    recentre: bool = False

    def prior(self, scale: int, bank: Float[Tensor, "n k k"] | None = None) -> Family:
        """The kernels that are thought possible before the image is seen.

        Raises:
            FoundryError: a bank is asked for and none given, or a value is out of range.
        """
        if self.family == "gaussian":
            return GaussianPrior(self.kernel_size, self.variances[0] * scale, self.variances[1] * scale)
        if self.family == "line":
            return motion_families.lines(
                self.kernel_size, min(float(scale), 0.5 * self.kernel_size), 0.8 * self.kernel_size
            )
        if self.family == "trajectory":
            return motion_families.trajectories(self.kernel_size)
        if bank is None:
            raise FoundryError("estimate.family is bank, got no bank; hand one over, or choose gaussian")
        return motion_families.bank(bank)


def settings(section: Mapping[str, Any]) -> Settings:
    """The settings among the values of a section; those of other methods are passed over."""
    names = {field.name for field in dataclasses.fields(Settings)}
    return Settings(**{name: value for name, value in section.items() if name in names})


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


def check(low: Tensor, scale: int, size: int) -> None:
    """Refuse an image that a kernel does not fit into."""
    if min(low.shape[-2:]) * scale <= size:
        sizes = f"{low.shape[-2]}x{low.shape[-1]} at scale {scale}"
        raise FoundryError(f"image of {sizes} is too small for a {size}x{size} kernel; give a larger one")


def numbers(losses: Mapping[str, Tensor | float], iteration: int) -> Row:
    """Losses as numbers, with one wait for the device.

    Raises:
        Diverged: one is not finite.
    """
    tensors = {name: value for name, value in losses.items() if isinstance(value, Tensor)}
    known = torch.stack([value.detach().float() for value in tensors.values()]).tolist() if tensors else []
    found = dict(zip(tensors, known, strict=True))
    row = {name: found.get(name, value) for name, value in losses.items()}
    numbers_ = {name: float(value) for name, value in row.items()}
    if not all(math.isfinite(value) for name, value in numbers_.items() if name != "stop"):
        raise Diverged(f"kernel estimation: got {numbers_} in iteration {iteration + 1}; lower estimate.kernel_rate")
    return numbers_


class Sampling:
    """RKS: draws that adapt to the image, and their weighted mean."""

    def __init__(self, low: Tensor, scale: int, prior: Family, settings: Settings, rng: torch.Generator) -> None:
        self.spectral: Score | None = None
        if settings.likelihood == "spectrum":
            self.spectral = SpectralLikelihood(
                low,
                scale,
                noise=settings.noise,
                tile=settings.tile,
                keep=settings.keep,
                exponent=settings.exponent,
                softness=settings.softness,
            )
        self.population = Population(prior) if settings.sampler == "population" else Chains(prior)
        self.settings, self.rng, self.device = settings, rng, low.device

    def improve(self, residual: Score | None = None) -> tuple[Float[Tensor, "1 k k"], Row]:
        """k_hat over all draws so far, this call's included; `residual` scores kernels by the image so far."""
        population, prior = self.population, self.population.prior
        score = self.spectral or residual
        if score is None:
            raise FoundryError("estimate.likelihood residual needs an image, got image_steps 0; choose spectrum")

        def scored(family: Tensor) -> Tensor:
            return score(family.to(self.device)).cpu()

        shapes = population.draw(self.settings.draws, rng=self.rng)
        if self.spectral is None:
            population.rescore(scored)  # the image has changed since
        scores = scored(prior.kernels(shapes.to(self.device)))  # hundreds in one batch, where the image is
        k_hat = population.weigh(shapes, scores, temperature=self.settings.temperature, least=LEAST)
        row = {"draws": population.effective(), "temperature": min(population.temperature, 1e9)}
        return k_hat.float().to(self.device), row


class ImageNet:
    """G_x with its code and optimiser: the IR step."""

    def __init__(self, seen: Tensor, scale: int, data: Data, settings: Settings, rng: torch.Generator) -> None:
        width = settings.width
        # The deepest level needs two pixels a side at least: a small image has fewer levels.
        levels = min(settings.levels, int(math.log2(scale * min(seen.shape[-2:]) - 1)))
        net = draw(lambda: Skip(width=width, skip=max(1, width // 8), levels=levels), rng=rng, device=seen.device)
        # pyright knows no overload with a memory format alone
        self.net = net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        code = 0.1 * torch.rand(1, 3, *(scale * extent for extent in seen.shape[-2:]), generator=rng)
        self.code = code.to(seen.device, memory_format=torch.channels_last)
        graph = settings.capture == "graph" and seen.is_cuda
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=settings.image_rate, capturable=graph)
        self.data, self.settings, self.low_values = data, settings, seen.numel()
        self.run = torch.compile(self.net) if settings.capture == "compile" else self.net
        self.kernel: Tensor | None = None
        self.residual = seen.new_ones(())
        self.replay = Replay(self._step, graph=graph)

    def image(self) -> Float[Tensor, "1 3 H W"]:
        """The image so far."""
        with torch.no_grad():
            return self._made()

    def improve(self, kernel: Tensor, steps: int, residual: Tensor | None = None) -> Losses:
        """Steps on data + R(x), the kernel held; `residual` is the mean squared error so far, for `fade`."""
        if self.kernel is None:
            self.kernel = torch.empty_like(kernel)
        self.kernel.copy_(kernel)  # in place, and so are all that a captured step reads
        if residual is not None:
            self.residual.copy_(residual)
        loss = kernel.new_zeros(())
        for _ in range(steps):
            loss = self.replay()
        return {"image": loss}

    def _made(self) -> Tensor:
        if not self.settings.bfloat16:
            return self.run(self.code)
        with torch.autocast(self.code.device.type, dtype=torch.bfloat16):  # losses stay float32: 1e-8 inside R(x)
            made = self.run(self.code)
        return made.float()

    def _step(self) -> Tensor:
        assert self.kernel is not None
        self.optimiser.zero_grad()
        image = self._made()
        loss = self.data(self.kernel, image)
        natural = hyper_laplacian(image, self.low_values)
        loss = loss + (FADING * self.residual * natural if self.settings.fade else natural)
        loss.backward()
        self.optimiser.step()
        return loss.detach()


class KernelNet:
    """G_k, or what stands for it, with its optimisers: the PKE step, and MLMC's two halves of it."""

    def __init__(self, prior: Family, settings: Settings, rng: torch.Generator, device: torch.device) -> None:
        self.form = forms.make(settings.form, prior, rng=rng, device=device)
        self.settings = settings
        # A generator of the device's own, so that noise need not be carried there.
        self.rng = rng if device.type == "cpu" else torch.Generator(device).manual_seed(rng.initial_seed())
        self.weights = list(self.form.parameters())
        self.rate = settings.kernel_rate * forms.PACE[settings.form]
        self.optimiser = torch.optim.Adam(self.weights, lr=self.rate)
        self.apart = torch.optim.Adam(self.weights, lr=self.rate)  # moments of the prior alone
        mean = prior.mean().float().to(device)
        for _ in range(WARM_UP):
            self.optimiser.zero_grad()
            divergence(mean, self.kernel()).backward()
            self.optimiser.step()
            forms.keep(self.form)

    def kernel(self) -> Float[Tensor, "1 k k"]:
        """k = G_k(z_k)."""
        return self.form()

    def strength(self, share: float) -> float:
        """|lambda grad prior| / |grad data| when this share of the iterations is over."""
        start, end = self.settings.prior_strength
        return start ** (1 - share) * end**share

    def improve(self, k_hat: Tensor, image: Tensor | None, data: Data, share: float) -> Losses:
        """Langevin steps along -grad [data + lambda prior], lambda = strength |grad data| / |grad prior|."""
        rate = self._cool(self.optimiser, share)
        row: Losses = {}
        for _ in range(self.settings.kernel_steps):
            kernel = self.kernel()
            prior_loss = divergence(k_hat, kernel)
            slope = torch.autograd.grad(prior_loss, self.weights, retain_graph=image is not None)
            row = {"prior": prior_loss.detach()}
            if image is not None:
                data_loss = data(kernel, image)
                pull, slope = slope, torch.autograd.grad(data_loss, self.weights)
                balance = self.strength(share) * _length(slope) / _length(pull).clamp_min(1e-12)
                slope = [part + balance * other for part, other in zip(slope, pull, strict=True)]
                row["data"] = data_loss.detach()
            self._move(self.optimiser, slope, rate)
        return row

    def pull(self, k_hat: Tensor, share: float) -> Losses:
        """One step towards sampled kernels (MLMC's MCKA), with moments of its own: the data term's would drown it."""
        strong = self.strength(share)
        rate = self._cool(self.apart, share) * strong / (1 + strong)
        self.apart.param_groups[0]["lr"] = rate
        loss = divergence(k_hat, self.kernel())
        self._move(self.apart, torch.autograd.grad(loss, self.weights), rate)
        return {"prior": loss.detach()}

    def fit(self, loss: Tensor, share: float) -> Losses:
        """One step on a data term, gathered over image steps (MLMC's meta loss)."""
        rate = self._cool(self.optimiser, share) / (1 + self.strength(share))
        self.optimiser.param_groups[0]["lr"] = rate
        self._move(self.optimiser, torch.autograd.grad(loss, self.weights), rate)
        return {"data": loss.detach()}

    def _cool(self, optimiser: torch.optim.Adam, share: float) -> float:
        rate = self.rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))
        optimiser.param_groups[0]["lr"] = rate
        return rate

    def _move(self, optimiser: torch.optim.Adam, slope: Sequence[Tensor], rate: float) -> None:
        for weight, part in zip(self.weights, slope, strict=True):
            weight.grad = part
        optimiser.step()
        deviation = self.settings.langevin * math.sqrt(2 * rate)
        if deviation > 0:
            with torch.no_grad():
                for weight in self.weights:
                    weight += deviation * torch.randn(weight.shape, generator=self.rng, device=weight.device)
        forms.keep(self.form)


def residual_score(
    image: Float[Tensor, "1 3 H W"], seen: Float[Tensor, "1 3 h w"], scale: int, noise: float, **physics: Any
) -> Score:
    """log p(y | x, k) = -|y - (x * k) down|^2 / (2 v), v the least such error: DKP's weights, made a likelihood.

    A frozen image fits best the kernel that it was made with: a weaker signal than the spectrum's.
    """

    def score(family: Float[Tensor, "n k k"]) -> Float[Tensor, " n"]:
        count = len(family)
        with torch.no_grad():
            made = degrade(image.expand(count, -1, -1, -1), family.to(image), scale, **physics)
        error = (made - seen).square().mean(dim=(1, 2, 3)).double()
        level = error.min().clamp_min(max(noise, 1 / 255 / math.sqrt(12)) ** 2)
        return -0.5 * seen.numel() * error / level

    return score


def finish(
    kernel: Float[Tensor, "1 k k"], image: Float[Tensor, "1 3 H W"] | None, settings: Settings
) -> tuple[Float[Tensor, "1 k k"], Float[Tensor, "1 3 H W"] | None]:
    """Under `recentre`, move the kernel's centre of mass to the middle tap, and the image by the same way."""
    kernel = kernel.detach()
    if not settings.recentre:
        return kernel, image
    way = (kernel.shape[-1] - 1) / 2 - conventions.centre_of_mass(kernel)[0]
    if image is not None and float(way.abs().max()) > STILL:
        extent = torch.tensor(image.shape[-2:], device=image.device)
        down, across = 2 * way.to(image) / (extent - 1)
        rows = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], device=image.device)
        rows[0, 2], rows[1, 2] = -across, -down
        grid = functional.affine_grid(rows[None], list(image.shape), align_corners=True)
        image = functional.grid_sample(image, grid, mode="bicubic", padding_mode="border", align_corners=True)
    return kernels.centred(kernel), image


def busiest(low: Float[Tensor, "1 c h w"], window: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of the window with the most gradient energy."""
    height, width = (min(window, extent) for extent in low.shape[-2:])
    grey = low.mean(dim=1, keepdim=True)
    down = functional.pad(grey.diff(dim=-2) ** 2, (0, 0, 0, 1))
    across = functional.pad(grey.diff(dim=-1) ** 2, (0, 1, 0, 0))
    # axis by axis: a window's cost is its side, not its area
    rows = functional.avg_pool2d((down + across).double(), (height, 1), stride=(4, 1))
    sums = functional.avg_pool2d(rows, (1, width), stride=(1, 4))[0, 0]
    row, column = divmod(int(sums.argmax()), sums.shape[1])
    return 4 * row, 4 * column, height, width


def _length(parts: Sequence[Tensor]) -> Float[Tensor, ""]:
    return torch.stack([part.norm() for part in parts]).norm()

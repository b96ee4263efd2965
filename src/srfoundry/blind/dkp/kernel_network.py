"""The kernel that is learned, k = G_k(z_k), and the three rules by which its weights move.

  LangevinSteps   DKP's PKE: one step on the data term and on the distance to k_hat together;
  SampledSteps    MLMC's MCKA: a step towards the sampled kernels alone;
  GatheredSteps   MLMC's MLAO: a step on a data term that was gathered over image steps.

Each rule has an optimiser, and so Adam's moments, of its own: with moments in common the data term drowns the pull of
the sampled kernels.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.dkp import forms
from srfoundry.blind.dkp.families import Family
from srfoundry.blind.dkp.losses import Data, divergence
from srfoundry.blind.estimate import Losses
from srfoundry.blind.settings import KernelFit
from srfoundry.core.seeds import moved

WARM_UP = 100  # steps that bring G_k to its family's mean


class LearnedKernel:
    """G_k, or what stands for it (`forms`): its weights, and how strong the prior and how long a step is.

    Args:
        family: whose mean the kernel starts at.
        settings: of its form, its steps and its prior.
        rng: a CPU generator; draws the weights, and on a CPU Langevin's noise.
        device: where the kernel is.
    """

    def __init__(self, family: Family, settings: KernelFit, *, rng: torch.Generator, device: torch.device) -> None:
        self.form = forms.make(settings.form, family, rng=rng, device=device)
        self.family, self.settings, self.device = family, settings, device
        # A generator of the device's own, so that noise need not be carried there.
        self.rng = moved(rng, device)
        self.weights = list(self.form.parameters())
        self.largest_rate = settings.kernel_rate * forms.PACE[settings.form]

    def __call__(self) -> Float[Tensor, "1 k k"]:
        """The kernel so far, differentiable."""
        return self.form()

    def strength(self, share: float) -> float:
        """|lambda grad prior| / |grad data| when this share of the iterations is over."""
        start, end = self.settings.prior_strength
        return start ** (1 - share) * end**share

    def rate(self, share: float) -> float:
        """Adam's rate when this share of the iterations is over: a cosine from the largest to a twentieth."""
        return self.largest_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))

    def warmed_up(self) -> "Descent":
        """Bring the kernel to its family's mean; returns the optimiser that did it, whose moments go on."""
        descent = Descent(self)
        mean = self.family.mean().float().to(self.device)
        for _ in range(WARM_UP):
            descent.adam.zero_grad()
            divergence(mean, self()).backward()
            descent.adam.step()
            forms.keep(self.form)
        return descent


class Descent:
    """Adam over a kernel's weights, with moments of its own, and Langevin's noise after each step."""

    def __init__(self, kernel: LearnedKernel) -> None:
        self.kernel = kernel
        self.adam = torch.optim.Adam(kernel.weights, lr=kernel.largest_rate)

    def step(self, slope: Sequence[Tensor], rate: float) -> None:
        """Move the weights against their slope."""
        kernel = self.kernel
        self.adam.param_groups[0]["lr"] = rate
        for weight, part in zip(kernel.weights, slope, strict=True):
            weight.grad = part
        self.adam.step()
        deviation = kernel.settings.langevin * math.sqrt(2 * rate)
        if deviation > 0:
            with torch.no_grad():
                for weight in kernel.weights:
                    weight += deviation * torch.randn(weight.shape, generator=kernel.rng, device=weight.device)
        forms.keep(kernel.form)


class LangevinSteps:
    """DKP's PKE: steps along -grad [data + lambda prior], lambda = strength |grad data| / |grad prior|."""

    def __init__(self, kernel: LearnedKernel, data: Data) -> None:
        self.kernel, self.data = kernel, data
        self.descent = kernel.warmed_up()

    def improve(self, k_hat: Float[Tensor, "1 k k"], image: Tensor | None, share: float) -> Losses:
        """`kernel_steps` steps; without an image on the prior's term alone.

        Args:
            k_hat: the sampled kernels' mean.
            image: the sharp image so far, held.
            share: of the iterations that are over, 0 to 1.
        """
        rate = self.kernel.rate(share)
        row: Losses = {}
        for _ in range(self.kernel.settings.kernel_steps):
            kernel = self.kernel()
            prior_loss = divergence(k_hat, kernel)
            slope = torch.autograd.grad(prior_loss, self.kernel.weights, retain_graph=image is not None)
            row = {"prior": prior_loss.detach()}
            if image is not None:
                data_loss = self.data(kernel, image)
                pull, slope = slope, torch.autograd.grad(data_loss, self.kernel.weights)
                balance = self.kernel.strength(share) * length(slope) / length(pull).clamp_min(1e-12)
                slope = [part + balance * other for part, other in zip(slope, pull, strict=True)]
                row["data"] = data_loss.detach()
            self.descent.step(slope, rate)
        return row


class SampledSteps:
    """MLMC's MCKA: steps towards the sampled kernels."""

    def __init__(self, kernel: LearnedKernel) -> None:
        self.kernel, self.descent = kernel, Descent(kernel)

    def improve(self, k_hat: Float[Tensor, "1 k k"], share: float) -> Losses:
        """One step."""
        strong = self.kernel.strength(share)
        loss = divergence(k_hat, self.kernel())
        slope = torch.autograd.grad(loss, self.kernel.weights)
        self.descent.step(slope, self.kernel.rate(share) * strong / (1 + strong))
        return {"prior": loss.detach()}


class GatheredSteps:
    """MLMC's MLAO, its kernel's half: steps on the meta loss, a data term gathered over image steps."""

    def __init__(self, kernel: LearnedKernel) -> None:
        self.kernel = kernel
        self.descent = kernel.warmed_up()

    def improve(self, loss: Float[Tensor, ""], share: float) -> Losses:
        """One step."""
        slope = torch.autograd.grad(loss, self.kernel.weights)
        self.descent.step(slope, self.kernel.rate(share) / (1 + self.kernel.strength(share)))
        return {"data": loss.detach()}


def length(parts: Sequence[Tensor]) -> Float[Tensor, ""]:
    """The Euclidean length of tensors taken together."""
    return torch.stack([part.norm() for part in parts]).norm()

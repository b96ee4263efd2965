"""Diff-DKP (Yang et al., CVPR 2024): a kernel estimated within the reverse steps of an unconditional diffusion model.

Each evaluation of the denoiser, from much noise to none:
  x_0   the photograph that the model expects behind x_t;
  RKS   random kernels, weighed by p(k | y): k_hat = sum w k;
  PKE   steps over G_k's weights along -grad [|(x_0 * k) down_s - y|^2 + lambda KL(k_hat | k)], x_0 held;
  IR    x_0 <- argmin |(x * k) down_s - y|^2 + alpha |x - x_0|^2 in closed form, alpha = guidance (sigma_n / sigma_t)^2,
        and x_t-1 from it, with a share of the noise drawn anew (DiffPIR, Zhu et al., CVPRW 2023, eq. 12 to 14).
PKE looks at x_0 from before the data step, which makes any kernel look right. A weak model's x_0 is too smooth, so that
the data term alone makes kernels too narrow: the sampled kernels have to be strong. At the end of learning the kernel
is centred and held; the image follows it in the remaining evaluations. The low-resolution image is all that is seen.
The published program differs: it learns nothing from that image, and starts from the true kernel.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.diffusion.denoiser import Denoiser
from srfoundry.blind.diffusion.diffpir import Canvas, reverse, schedule
from srfoundry.blind.diffusion.settings import DiffusionSampler
from srfoundry.blind.dkp.families import Family, family_of
from srfoundry.blind.dkp.kernel_network import LangevinSteps, LearnedKernel, length
from srfoundry.blind.dkp.likelihood import residual_likelihood
from srfoundry.blind.dkp.sampling import RandomKernels
from srfoundry.blind.estimate import BlindObservation, Estimate, History, Row, as_numbers, busiest_window, check_size
from srfoundry.blind.settings import Estimation
from srfoundry.core.errors import FoundryError
from srfoundry.core.state import Log, silent
from srfoundry.degradation import kernels
from srfoundry.degradation.observation import Sampling
from srfoundry.degradation.spectral_likelihood import ROUNDING


def estimate_kernel_by_diffusion(
    low: Float[Tensor, "1 3 h w"],
    sampling: Sampling,
    settings: Estimation,
    *,
    sampler: DiffusionSampler,
    denoiser: Denoiser,
    rng: torch.Generator,
    log: Log = silent,
    bank: Float[Tensor, "n k k"] | None = None,
) -> Estimate:
    """Estimate the blur kernel of `low` from `low` alone, and its image with it.

    Args:
        low: range [0, 1], on any device.
        sampling: its scale and border; direct decimation only.
        settings: those of random kernels and kernel steps count. Draws are made in the first `iterations` evaluations;
            a `window` of 0 is the whole image.
        rng: a CPU generator; the same state gives the same bytes.
        log: takes each evaluation in which the kernel learns: losses, length of the data term's gradient, draws that
            carry the weight.
        bank: kernels that the family `bank` draws from, centred on the middle tap.

    Raises:
        FoundryError: the image is too small, or its decimation bicubic.
        Diverged: a loss is not finite.
    """
    if sampling.decimation != "direct":
        raise FoundryError(f"diffusion undoes direct decimation only, got {sampling.decimation}; choose another method")
    prior = family_of(settings.prior, sampling.scale, bank)
    check_size(low, sampling.scale, prior.size)
    with torch.inference_mode(False), torch.enable_grad():  # whoever calls may have switched gradients off
        low = low.float().clone()
        seen, box = busiest_window(low, settings.windows.window or max(low.shape[-2:]))
        periodic = sampling.border == "circular" and seen.shape == low.shape
        canvas = Canvas(seen, sampling.scale, prior.size, periodic=periodic)
        evaluations = len(schedule(denoiser, sampler))
        learning = max(1, min(round(sampler.learn * evaluations), evaluations - 1))  # the image follows the held kernel
        learner = _Learner(low, canvas, settings, learning, prior, rng, log)
        image = reverse(canvas, learner, learner.kernel(), denoiser, sampler, settings.spectrum.noise, rng)
        return Estimate(learner.hold(), image, box, learner.history.rows)


class _Learner:
    """RKS and PKE: called at each evaluation with x_0, it learns from it and returns the kernel."""

    def __init__(
        self,
        low: Tensor,
        canvas: Canvas,
        settings: Estimation,
        learning: int,
        prior: Family,
        rng: torch.Generator,
        log: Log,
    ) -> None:
        self.canvas, self.settings, self.learning = canvas, settings, learning
        self.random = RandomKernels(BlindObservation(low, Sampling(canvas.scale)), prior, settings, rng=rng)
        self.net = LearnedKernel(prior, settings.kernel, rng=rng, device=low.device)
        self.steps = LangevinSteps(self.net, self._data)
        self.k_hat: Tensor | None = None
        self.drawn: Row = {}
        self.held: Tensor | None = None
        self.history = History(log)

    def kernel(self) -> Float[Tensor, "1 k k"]:
        """The kernel so far."""
        return self.net().detach() if self.held is None else self.held

    def __call__(self, index: int, image: Float[Tensor, "1 3 H W"]) -> Float[Tensor, "1 k k"]:
        if index < self.learning:
            self._learn(index, image)
        else:
            self.hold()
        return self.kernel()

    def hold(self) -> Float[Tensor, "1 k k"]:
        """Centre the kernel, once, and keep it."""
        if self.held is None:
            self.held = kernels.centred(self.kernel())
        return self.held

    def _learn(self, index: int, image: Tensor) -> None:
        if self.k_hat is None or index < self.settings.turns.iterations:
            noise = max(self.settings.spectrum.noise, ROUNDING)
            circular = Sampling(self.canvas.scale, border="circular")
            score = residual_likelihood(image, self.canvas.whole, circular, noise=noise)
            self.k_hat, self.drawn = self.random.improve(score)
        kernel = self.net()
        slopes = torch.autograd.grad(self._data(kernel, image), self.net.weights)
        slope = length(slopes)
        losses = self.steps.improve(self.k_hat, image, index / max(1, self.learning - 1))
        self.history.add(index, as_numbers({**self.drawn, **losses, "slope": slope}, index))

    def _data(self, kernel: Tensor, image: Tensor) -> Tensor:
        """-log p(y | x_0, k) a value, at the likeliest variance of the error: a plain MSE would be lost on Adam."""
        return 0.5 * (self.canvas.misfit(image, kernel).square().mean() + ROUNDING**2).log()

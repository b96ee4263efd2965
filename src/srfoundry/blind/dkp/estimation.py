"""One image's estimation by DKP or MLMC: the parts that take turns, what they have in common, and how they end.

  RKS  `RandomKernels` draws kernels and weighs them by p(k | y): k_hat = sum w k;
  IR   `LearnedImage` improves the image x = G_x(z_x), an untrained network, with the kernel held;
  PKE  the rules of `kernel_network` improve the kernel k = G_k(z_k).

`dkp` and `mlmc` are the order in which their papers call these. Inside a part nothing waits for the device: losses
become numbers once an outer iteration.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from srfoundry.blind.dkp.families import family_of
from srfoundry.blind.dkp.image_network import LearnedImage
from srfoundry.blind.dkp.kernel_network import LearnedKernel
from srfoundry.blind.dkp.likelihood import Score, residual_likelihood
from srfoundry.blind.dkp.losses import ssim_loss
from srfoundry.blind.dkp.sampling import RandomKernels
from srfoundry.blind.dkp.stop import Monitor, held_out_error, held_out_mask
from srfoundry.blind.estimate import (
    BlindObservation,
    Estimate,
    History,
    Losses,
    Resources,
    as_numbers,
    busiest_window,
    check_size,
)
from srfoundry.blind.settings import Estimation
from srfoundry.core.state import Log
from srfoundry.degradation import conventions, kernels

STILL = 0.02  # pixels off the middle that are not worth moving an image for


class Problem:
    """The parts, the window that they explain, and the iterations so far.

    Random kernels are weighed by the whole image; the image network explains its busiest window.

    Args:
        observation: the image whose kernel is sought.
        settings: of the estimation.
        resources: with a bank, if the family is one.
        rng: a CPU generator; the same state gives the same bytes.
        log: takes the row of each iteration.

    Raises:
        FoundryError: the image is too small, or the settings need what is not there.
    """

    def __init__(
        self,
        observation: BlindObservation,
        settings: Estimation,
        resources: Resources,
        *,
        rng: torch.Generator,
        log: Log,
    ) -> None:
        family = family_of(settings.prior, observation.scale, resources.bank)
        low = observation.low.float()
        check_size(low, observation.scale, family.size)
        self.observation, self.settings, self.sampling = observation, settings, observation.sampling
        self.low, self.box = busiest_window(low, settings.windows.window)
        self.visible = held_out_mask(self.low, settings.stopping.stop, rng)
        whole = BlindObservation(low, observation.sampling, observation.noise)
        self.random = RandomKernels(whole, family, settings, rng=rng)
        self.kernel = LearnedKernel(family, settings.kernel, rng=rng, device=low.device)
        self.image: LearnedImage | None = None
        if settings.image.image_steps:
            self.image = LearnedImage(self.low, observation.scale, self.data, settings.image, rng=rng)
        self.monitor, self.history = Monitor(settings.stopping), History(log)

    def share(self, iteration: int) -> float:
        """How much of the iterations is over, 0 to 1."""
        return iteration / max(1, self.settings.turns.iterations - 1)

    def data(self, kernel: Tensor, image: Tensor) -> Tensor:
        """1 - SSIM of (x * k) down and y, held-out pixels left out."""
        made = self.sampling.degrade(image, kernel)
        if self.visible is None:
            return ssim_loss(made, self.low)
        return ssim_loss(made * self.visible, self.low * self.visible)

    def residual(self) -> Score | None:
        """Scores kernels by the image so far, if the settings say so and there is one."""
        if self.image is None or self.settings.sampling.likelihood == "spectrum":
            return None
        noise = self.observation.known_noise(self.settings)
        return residual_likelihood(self.image(), self.low, self.sampling, noise=noise)

    def restore(self, kernel: Float[Tensor, "1 k k"], steps: int) -> Losses:
        """IR steps with this kernel, if there is an image."""
        if self.image is None:
            return {}
        kernel = kernel.detach()
        return self.image.improve(kernel, steps, self._squared_error(kernel) if self.settings.image.fade else None)

    def _squared_error(self, kernel: Tensor) -> Tensor:
        assert self.image is not None
        with torch.no_grad():
            return functional.mse_loss(self.sampling.degrade(self.image(), kernel), self.low)

    def record(self, iteration: int, kernel: Float[Tensor, "1 k k"], losses: Mapping[str, Tensor | float]) -> bool:
        """Write an iteration and its kernel down; returns whether to stop.

        Raises:
            Diverged: a loss is not finite.
        """
        row = as_numbers(losses, iteration)
        done = False
        if self.settings.stopping.stop != "none" and self.image is not None:
            kernel, image = kernel.detach(), self.image()
            with torch.no_grad():
                error = held_out_error(self.sampling.degrade(image, kernel), self.low, self.visible)
            done, row["stop"] = self.monitor.record(iteration, kernel, image, error)
        self.history.add(iteration, row)
        return done

    def end(self, kernel: Float[Tensor, "1 k k"]) -> Estimate:
        """The last iterate, whose kernel this is, or the one that the stopping rule kept."""
        image = None if self.image is None else self.image()
        if self.monitor.kept is not None:
            kernel, image = self.monitor.kept
        kernel = kernel.detach()
        if self.settings.recentre:
            kernel, image = recentred(kernel, image)
        return Estimate(kernel, image, self.box, self.history.rows)


def recentred(
    kernel: Float[Tensor, "1 k k"], image: Float[Tensor, "1 3 H W"] | None
) -> tuple[Float[Tensor, "1 k k"], Float[Tensor, "1 3 H W"] | None]:
    """Move the kernel's centre of mass to the middle tap, and the image by the same way."""
    way = (kernel.shape[-1] - 1) / 2 - conventions.centre_of_mass(kernel)[0]
    if image is not None and float(way.abs().max()) > STILL:
        extent = torch.tensor(image.shape[-2:], device=image.device)
        down, across = 2 * way.to(image) / (extent - 1)
        rows = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], device=image.device)
        rows[0, 2], rows[1, 2] = -across, -down
        grid = functional.affine_grid(rows[None], list(image.shape), align_corners=True)
        image = functional.grid_sample(image, grid, mode="bicubic", padding_mode="border", align_corners=True)
    return kernels.centred(kernel), image

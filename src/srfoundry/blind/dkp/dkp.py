"""Dynamic kernel prior (Yang et al., CVPR 2024): estimate kernel and image of one low-resolution image together.

Each outer iteration t does the paper's three steps:
  RKS  draw random kernels and weigh them by p(k | y): k_hat = sum w k;
  IR   improve the image x = G_x(z_x), an untrained network, with the kernel held;
  PKE  improve the kernel k = G_k(z_k) by Langevin dynamics over G_k's weights, on the sum of the data term and of the
       distance to k_hat.
Here both terms of PKE enter one optimiser step, balanced by the norms of their gradients, strong prior first and weaker
prior last. In the authors' program (`released`) they are two steps with shared moments, in which the prior is lost; and
its weights come from the error of one image estimate, where ours integrate the image out (see `spectrum`).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.dkp.estimation import start
from srfoundry.blind.dkp.kernel_network import Estimate, Log, Settings, busiest
from srfoundry.degradation.conventions import Border
from srfoundry.degradation.operator import Decimation

__all__ = ["Estimate", "Log", "Settings", "busiest", "estimate"]


def estimate(
    low: Float[Tensor, "1 3 h w"],
    *,
    scale: int,
    settings: Settings,
    rng: torch.Generator,
    decimation: Decimation = "direct",
    border: Border = "reflect",
    log: Log = lambda step, values: None,
    bank: Float[Tensor, "n k k"] | None = None,
) -> Estimate:
    """Estimate the blur kernel of `low` (range [0, 1], any device) from `low` alone.

    Args:
        rng: a CPU generator; the same state gives the same bytes.
        log: hears of each outer iteration: losses, draws that carry the weight, and their temperature.
        bank: kernels that `settings.family` bank draws from, centred on the middle tap.

    Raises:
        FoundryError: the image is too small. Diverged: a loss is not finite.
    """
    problem = start(
        low, scale=scale, settings=settings, rng=rng, decimation=decimation, border=border, log=log, bank=bank
    )
    for iteration in range(settings.iterations):
        k_hat, row = problem.sampling.improve(problem.residual())
        losses = problem.restore(settings.image_steps)
        image = None if problem.image_net is None else problem.image_net.image()
        losses |= problem.kernel_net.improve(k_hat, image, problem.data, problem.share(iteration))
        if problem.hear(iteration, {**row, **losses}):
            break
    return problem.end()

"""Dynamic kernel prior (Yang et al., CVPR 2024): estimate kernel and image of one low-resolution image together.

Each outer iteration t does the paper's three steps:
  RKS  draw random kernels and weigh them by p(k | y): k_hat = sum w k;
  IR   improve the image x = G_x(z_x), an untrained network, with the kernel held;
  PKE  improve the kernel k = G_k(z_k) by Langevin dynamics over G_k's weights, on the sum of the data term and of the
       distance to k_hat.
Here both terms of PKE enter one optimiser step, balanced by the norms of their gradients, strong prior first and weaker
prior last. In the authors' program (`released`) they are two steps with shared moments, in which the prior is lost; and
its weights come from the error of one image estimate, where ours integrate the image out (see `likelihood`).
"""

import torch

from srfoundry.blind.dkp.estimation import Problem
from srfoundry.blind.dkp.families import family_of
from srfoundry.blind.dkp.kernel_network import LangevinSteps
from srfoundry.blind.estimate import NOTHING, BlindObservation, Estimate, Estimator, Resources
from srfoundry.blind.settings import Estimation
from srfoundry.core.state import Log, silent


def estimate_by_dkp(
    observation: BlindObservation,
    settings: Estimation,
    resources: Resources = NOTHING,
    *,
    rng: torch.Generator,
    log: Log = silent,
) -> Estimate:
    """Estimate the blur kernel of an image from the image alone.

    Args:
        observation: the image, on any device.
        settings: of the estimation.
        resources: with a bank, if the family is one.
        rng: a CPU generator; the same state gives the same bytes.
        log: takes each outer iteration's losses, the draws that carry the weight, and their temperature.

    Raises:
        FoundryError: the image is too small, or the settings need what is not there.
        Diverged: a loss is not finite.
    """
    problem = Problem(observation, settings, resources, rng=rng, log=log)
    steps = LangevinSteps(problem.kernel, problem.data)
    for iteration in range(settings.turns.iterations):
        k_hat, row = problem.random.improve(problem.residual())  # RKS
        losses = problem.restore(problem.kernel(), settings.image.image_steps)  # IR
        image = None if problem.image is None else problem.image()
        losses |= steps.improve(k_hat, image, problem.share(iteration))  # PKE
        if problem.record(iteration, problem.kernel(), {**row, **losses}):
            break
    return problem.end(problem.kernel())


DKP = Estimator(
    function=estimate_by_dkp,
    iterations=lambda settings: settings.turns.iterations,
    kernel_size=lambda settings, resources, scale: family_of(settings.prior, scale, resources.bank).size,
)

"""Meta-learning with Markov chains (Xia et al., 2024): kernel and image of one low-resolution image, in nested turns.

Each outer iteration i does the paper's two parts:
  MCKA  L times: draw T random kernels, weigh them, and take one step of phi_k towards their weighted mean; the draws
        of one turn start from what the turn before learned, so the L turns are a chain;
  MLAO  Q times: P steps of phi_x on the reconstruction error, the kernel held, whose kernel losses are gathered,
        L_meta = sum over p of L_RE(p); then one step of phi_k on L_meta. No gradient passes through the image's steps.

The authors' program has one sampling step instead of L, and counts image steps modulo P instead of nesting (see
`released`). MCKA has moments of its own here; sharing MLAO's, its steps vanish.

With `learned` the kernel's steps are a learned optimiser's (`learned_optimiser`).
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.dkp.dkp import DKP
from srfoundry.blind.dkp.estimation import Problem
from srfoundry.blind.dkp.kernel_network import GatheredSteps, SampledSteps
from srfoundry.blind.dkp.learned_optimiser import LearnedTurns
from srfoundry.blind.estimate import NOTHING, BlindObservation, Estimate, Estimator, Losses, Resources
from srfoundry.blind.settings import Estimation
from srfoundry.core.errors import FoundryError
from srfoundry.core.state import Log, silent


@runtime_checkable  # for the shape checks of the tests
class KernelTurns(Protocol):
    """How the kernel moves in MLMC: the steps of a kernel network, or of a learned optimiser."""

    def kernel(self) -> Float[Tensor, "1 k k"]:
        """The kernel so far."""
        ...

    def sampled(self, k_hat: Float[Tensor, "1 k k"], share: float) -> Losses:
        """MCKA's step towards the sampled kernels."""
        ...

    def round(self, k_hat: Float[Tensor, "1 k k"], share: float) -> Losses:
        """One round of MLAO: P image steps, and the kernel's."""
        ...


def estimate_by_mlmc(
    observation: BlindObservation,
    settings: Estimation,
    resources: Resources = NOTHING,
    *,
    rng: torch.Generator,
    log: Log = silent,
) -> Estimate:
    """Estimate the blur kernel of an image from the image alone; arguments as those of `dkp.estimate_by_dkp`.

    An iteration draws L x T = `updates` x `draws` kernels and takes Q x P = `rounds` x `image_steps` image steps.

    Raises:
        FoundryError: the image is too small, or a learned optimiser without an image.
        Diverged: a loss is not finite.
    """
    problem = Problem(observation, settings, resources, rng=rng, log=log)
    turns = settings.turns
    if turns.learned and problem.image is None:
        raise FoundryError("estimate.learned reads the image's slope, got image_steps 0; take 1 or more")
    kernel_turns: KernelTurns = LearnedTurns(problem, rng=rng) if turns.learned else NetworkTurns(problem)
    for iteration in range(turns.iterations):
        share = problem.share(iteration)
        losses: Losses = {}
        k_hat, row = torch.empty(0), {}
        residual = problem.residual()
        for _ in range(turns.updates):  # MCKA
            k_hat, row = problem.random.improve(residual)
            losses |= kernel_turns.sampled(k_hat, share)
        for _ in range(turns.rounds if problem.image is not None else 0):  # MLAO
            losses |= kernel_turns.round(k_hat, share)
        if problem.record(iteration, kernel_turns.kernel(), {**row, **losses}):
            break
    return problem.end(kernel_turns.kernel())


class NetworkTurns:
    """MLMC's turns of a kernel network: MCKA and MLAO each have an optimiser of its weights."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.gathered_steps = GatheredSteps(problem.kernel)
        self.sampled_steps = SampledSteps(problem.kernel)

    def kernel(self) -> Float[Tensor, "1 k k"]:
        """The kernel so far."""
        return self.problem.kernel()

    def sampled(self, k_hat: Float[Tensor, "1 k k"], share: float) -> Losses:
        """One step towards the sampled kernels."""
        return self.sampled_steps.improve(k_hat, share)

    def round(self, k_hat: Float[Tensor, "1 k k"], share: float) -> Losses:
        """P image steps with the kernel held, and one kernel step on their gathered losses."""
        problem = self.problem
        assert problem.image is not None
        kernel = problem.kernel()
        gathered = problem.low.new_zeros(())
        losses: Losses = {}
        for _ in range(problem.settings.image.image_steps):
            gathered = gathered + problem.data(kernel, problem.image())
            losses |= problem.restore(kernel, 1)
        return losses | self.gathered_steps.improve(gathered, share)


MLMC = Estimator(function=estimate_by_mlmc, iterations=DKP.iterations, kernel_size=DKP.kernel_size)

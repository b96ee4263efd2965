"""MLMC with a learned optimiser: a small network reads the data term's slope at the kernel and answers with a change of
its taps, and is itself trained on what came of it, on this one image.

It is the per-instance solver's iterated form: k <- shares(k + G(slope at k) - a little of the slope).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.dkp.estimation import Problem
from srfoundry.blind.estimate import Losses
from srfoundry.solver.batched_networks import Dense
from srfoundry.solver.constraints import shares
from srfoundry.solver.instance_optimiser import Solver
from srfoundry.solver.problem import Data, Instances
from srfoundry.solver.settings import SolverSettings

HIDDEN = 64  # channels of the learned optimiser
DOWN = 0.02  # share of the kernel's length that it goes down the slope by itself
PACE = 0.05  # its rate in those of a kernel network


class LearnedTurns:
    """MLMC's turns of a learned optimiser. MCKA takes no step of its own; the first round starts at its k_hat.

    The objective is the data term of the image so far plus the squared distance to k_hat, balanced by their slopes.
    """

    def __init__(self, problem: Problem, *, rng: torch.Generator) -> None:
        self.problem, self.rng = problem, rng
        self.optimiser: _KernelOptimiser | None = None

    def kernel(self) -> Float[Tensor, "1 k k"]:
        """The kernel so far: the network's until the first round."""
        return self.problem.kernel() if self.optimiser is None else self.optimiser.kernel()

    def sampled(self, k_hat: Float[Tensor, "1 k k"], share: float) -> Losses:
        """Nothing: k_hat is part of the objective of each round."""
        return {}

    def round(self, k_hat: Float[Tensor, "1 k k"], share: float) -> Losses:
        """P steps of image and kernel, and one of the optimiser's weights on all of them."""
        if self.optimiser is None:
            self.optimiser = _KernelOptimiser(self.problem, k_hat, rng=self.rng)
        return self.optimiser.round(k_hat, share)


class _KernelOptimiser:
    """The solver of one kernel, which starts at `start`, and what its objective refers to in a round."""

    def __init__(self, problem: Problem, start: Float[Tensor, "1 k k"], *, rng: torch.Generator) -> None:
        assert problem.image is not None
        self.problem, self.made = problem, problem.image
        self.k_hat, self.image = start, self.made()
        self.balance = start.new_zeros(())
        settings, flat = problem.settings, start.flatten()
        chosen = SolverSettings(
            mode="iterate",
            steps=settings.turns.iterations * settings.turns.rounds * settings.image.image_steps,
            rate=PACE * settings.kernel.kernel_rate,
            accumulate=settings.image.image_steps,
            normalise=True,
            skip=DOWN,
        )
        instances = Instances(
            self._objective,
            lambda variable, data: shares(variable),
            base=flat.view(1, 1, 1, -1),
            inner=self._improve_image,
        )
        net = Dense(len(flat), hidden=(HIDDEN,), activation="tanh", zero_head=True)
        self.solver = Solver(net, instances, settings=chosen, rng=rng)

    def kernel(self) -> Float[Tensor, "1 k k"]:
        """The kernel so far."""
        assert self.solver.current is not None
        return self.solver.current.detach().view_as(self.k_hat)

    def round(self, k_hat: Float[Tensor, "1 k k"], share: float) -> Losses:
        """P steps of image and kernel towards this k_hat."""
        problem = self.problem
        self.k_hat, self.image = k_hat, self.made()
        at = self.kernel().requires_grad_()
        slopes = [torch.autograd.grad(loss, at)[0].norm() for loss in (problem.data(at, self.image), self._apart(at))]
        self.balance = problem.kernel.strength(share) * slopes[0] / slopes[1].clamp_min(1e-6)
        self.solver.run(problem.settings.image.image_steps)
        with torch.no_grad():
            kernel = self.kernel()
            return {"data": problem.data(kernel, self.image), "prior": self._apart(kernel)}

    def _objective(self, variable: Tensor, data: Data) -> Tensor:
        kernel = variable.view_as(self.k_hat)
        return (self.problem.data(kernel, self.image) + self.balance * self._apart(kernel)).view(1)

    def _improve_image(self, variable: Tensor, data: Data) -> None:
        """An image step with the kernel that the solver is about to leave."""
        self.problem.restore(self.kernel(), 1)
        self.image = self.made()

    def _apart(self, kernel: Tensor) -> Tensor:
        return (kernel - self.k_hat).square().sum()

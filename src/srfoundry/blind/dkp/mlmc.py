"""Meta-learning with Markov chains (Xia et al., 2024): kernel and image of one low-resolution image, in nested turns.

Each outer iteration i does the paper's two parts:
  MCKA  L times: draw T random kernels, weigh them, and take one step of phi_k towards their weighted mean; the draws
        of one turn start from what the turn before learned, so the L turns are a chain;
  MLAO  Q times: P steps of phi_x on the reconstruction error, the kernel held, whose kernel losses are gathered,
        L_meta = sum over p of L_RE(p); then one step of phi_k on L_meta. No gradient passes through the image's steps.

The authors' program has one sampling step instead of L, and counts image steps modulo P instead of nesting (see
`released`). MCKA has moments of its own here; sharing MLAO's, its steps vanish.

With `settings.learned` the kernel's steps are a learned optimiser's: a small network reads the slope of the data term
at the kernel and answers with a change of the taps, and is itself trained on what came of it, on this one image.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.dkp.estimation import Problem, start
from srfoundry.blind.dkp.kernel_network import Estimate, Log, Losses, Settings
from srfoundry.core.errors import FoundryError
from srfoundry.degradation.conventions import Border
from srfoundry.degradation.operator import Decimation
from srfoundry.solver.batched_networks import Dense
from srfoundry.solver.constraints import shares
from srfoundry.solver.instance_optimiser import Solver
from srfoundry.solver.problem import Data, Instances
from srfoundry.solver.problem import Settings as SolverSettings

HIDDEN = 64  # units of the learned optimiser
DOWN = 0.02  # share of the kernel's length that it goes down the slope without being asked
PACE = 0.05  # its rate in those of a kernel network


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
    """Estimate the blur kernel of `low` (range [0, 1], any device) from `low` alone; see `dkp.estimate`.

    An iteration draws L x T = `updates` x `draws` kernels and takes Q x P = `rounds` x `image_steps` image steps.

    Raises:
        FoundryError: the image is too small, or a learned optimiser without an image. Diverged: a loss is not finite.
    """
    problem = start(
        low, scale=scale, settings=settings, rng=rng, decimation=decimation, border=border, log=log, bank=bank
    )
    if settings.learned and problem.image_net is None:
        raise FoundryError("estimate.learned reads the image's slope, got image_steps 0; take 1 or more")
    learned = _Learned(problem, rng) if settings.learned else None
    for iteration in range(settings.iterations):
        share = problem.share(iteration)
        losses: Losses = {}
        row: dict[str, float] = {}
        k_hat = torch.empty(0)
        residual = problem.residual()
        for _ in range(settings.updates):  # MCKA
            k_hat, row = problem.sampling.improve(residual)
            if learned is None:
                losses |= problem.kernel_net.pull(k_hat, share)
        for _ in range(settings.rounds if problem.image_net is not None else 0):  # MLAO
            losses |= _round(problem, share) if learned is None else learned.round(k_hat, share)
        if problem.hear(iteration, {**row, **losses}):
            break
    return problem.end()


def _round(problem: Problem, share: float) -> Losses:
    """P image steps with the kernel held, and one kernel step on their gathered losses."""
    assert problem.image_net is not None
    gathered = problem.seen.new_zeros(())
    kernel = problem.kernel_net.kernel()
    losses: Losses = {}
    for _ in range(problem.settings.image_steps):
        gathered = gathered + problem.data(kernel, problem.image_net.image())
        losses |= problem.restore(1)
    return losses | problem.kernel_net.fit(gathered, share)


class _Learned:
    """MLAO with `solver`'s iterated form for the kernel's half: k <- shares(k + G(slope at k) - a little of the slope).

    Its objective is the data term of the image so far plus the squared distance to k_hat, balanced by their slopes.
    """

    def __init__(self, problem: Problem, rng: torch.Generator) -> None:
        self.problem, self.rng = problem, rng
        self.solver: Solver | None = None
        self.k_hat = self.image = problem.seen
        self.balance = problem.seen.new_zeros(())

    def kernel(self) -> Float[Tensor, "1 k k"]:
        """The kernel so far."""
        assert self.solver is not None and self.solver.current is not None
        size = self.problem.sampling.population.prior.size
        return self.solver.current.detach().view(1, size, size)

    def round(self, k_hat: Float[Tensor, "1 k k"], share: float) -> Losses:
        """P steps of image and kernel, and one of the optimiser's weights on all of them."""
        problem, image_net = self.problem, self.problem.image_net
        assert image_net is not None
        self.k_hat, self.image = k_hat, image_net.image()
        if self.solver is None:
            self.solver = self._start(k_hat)
            problem.current = self.kernel
        at = self.kernel().requires_grad_()
        slopes = [torch.autograd.grad(loss, at)[0].norm() for loss in (problem.data(at, self.image), self._apart(at))]
        self.balance = problem.kernel_net.strength(share) * slopes[0] / slopes[1].clamp_min(1e-6)
        self.solver.run(problem.settings.image_steps)
        with torch.no_grad():
            kernel = self.kernel()
            return {"data": problem.data(kernel, self.image), "prior": self._apart(kernel)}

    def _start(self, k_hat: Tensor) -> Solver:
        problem, flat = self.problem, k_hat.flatten()
        settings = problem.settings
        chosen = SolverSettings(
            mode="iterate",
            steps=settings.iterations * settings.rounds * settings.image_steps,
            rate=PACE * settings.kernel_rate,
            accumulate=settings.image_steps,
            normalise=True,
            skip=DOWN,
        )

        def objective(variable: Tensor, data: Data) -> Tensor:
            kernel = variable.view_as(self.k_hat)
            return (problem.data(kernel, self.image) + self.balance * self._apart(kernel)).view(1)

        def improve(variable: Tensor, data: Data) -> None:
            problem.restore(1)
            assert problem.image_net is not None
            self.image = problem.image_net.image()

        base = flat.view(1, 1, 1, -1)
        instances = Instances(objective, lambda variable, data: shares(variable), base=base, inner=improve)
        net = Dense(len(flat), hidden=(HIDDEN,), activation="tanh", zero_head=True)
        return Solver(net, instances, settings=chosen, rng=self.rng)

    def _apart(self, kernel: Tensor) -> Tensor:
        return (kernel - self.k_hat).square().sum()

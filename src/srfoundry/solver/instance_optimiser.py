"""The per-instance optimiser: a small network, drawn at random, is trained on one instance's own objective while it
solves it (LAGD's beamforming, DKP's and MLMC's blur kernels). There is nothing to pre-train and nothing to generalise.

  reparam   x = constraint(base + G(code)), code fixed: what the released programs do.
  iterate   x <- constraint(x + G(slope at x)): LAGD's Algorithm 1. The gradient alone is a poor input and a random G a
            poor step; `normalise`, `skip` and a net with zero_head are what make this form work.

All instances, times `restarts` nets for each, are rows of one batch. The r-th nets of all instances start at the same
draws, so that a result does not depend on which instances are solved beside it.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.core.errors import Diverged
from srfoundry.solver.batched_networks import Net, State
from srfoundry.solver.constraints import column, length
from srfoundry.solver.problem import Data, Instances, Loss, Solution
from srfoundry.solver.settings import SolverSettings


def slope(objective: Loss, variable: Float[Tensor, "n ..."], data: Data) -> Float[Tensor, "n ..."]:
    """The objective's gradient at each row's variable."""
    with torch.enable_grad():
        at = variable.detach().requires_grad_()
        (found,) = torch.autograd.grad(objective(at, data).sum(), at)
    return found


class Solver:
    """Instances being solved, a step at a time; `solve` is the usual way in.

    Args:
        net: see `batched_networks`.
        rng: a CPU generator; the same state gives the same bytes.

    Raises:
        FoundryError: what was given does not fit together.
    """

    def __init__(self, net: Net, instances: Instances, *, settings: SolverSettings, rng: torch.Generator) -> None:
        instances.check(settings)
        self.net, self.instances, self.settings, self.rng = net, instances, settings, rng
        count, like, base = settings.restarts, instances.like, instances.base
        self.device = like.device
        self.rows = torch.arange(len(instances) * count, device=self.device)  # row = instance * restarts + restart
        self.data: Data = tuple(part.repeat_interleave(count, dim=0) for part in instances.data)
        weights = net.draw(count, rng=rng, dtype=like.dtype).to(self.device)
        self.weights = weights.repeat(len(instances), 1)
        self.first, self.second = torch.zeros_like(self.weights), torch.zeros_like(self.weights)  # Adam's moments
        self.base = None
        if base is not None:
            self.base = base.expand(-1, count, *base.shape[2:]).flatten(0, 1).contiguous()
        self.current = self.base
        self.state: State = ()
        self.code = self._first_code()
        self.total: Tensor | None = None
        self.taken = self.moves = self.checked = 0
        self.best: Tensor | None = None
        self.losses = torch.full((len(self.rows),), math.inf, dtype=like.dtype, device=self.device)
        self.known = self.losses  # at the last look for rows that stop; the first look stops none
        if self.base is not None and instances.inner is None:
            with torch.no_grad():
                self.best = instances.constraint(self.base, self.data)
                start = instances.objective(self.best, self.data)
            self.losses = torch.where(start.isfinite(), start, self.losses)
        self.curve: list[tuple[Tensor, Tensor]] = []
        self.stopped: list[tuple[Tensor, Tensor, Tensor, Tensor, int]] = []  # rows, best, losses, last, steps

    def _first_code(self) -> Tensor | None:
        """The fixed code, or None where each iterate has its own."""
        kind = self.instances.code
        if isinstance(kind, Tensor):
            return kind.repeat_interleave(self.settings.restarts, dim=0)
        if self.base is None or (kind == "slope" and self.settings.mode == "iterate"):
            return None
        found = self._scaled(slope(self.instances.objective, self.base, self.data))
        if kind == "slope":
            return found
        shape = (self.settings.restarts, *found.shape[1:])
        noise = torch.randn(shape, generator=self.rng, dtype=torch.float64).to(found)
        noise = noise.repeat(len(self.instances), *[1] * (found.ndim - 1))
        return noise * column(length(found) / length(noise), found)

    def _scaled(self, found: Tensor) -> Tensor:
        return found / column(length(found), found) if self.settings.normalise else found

    def _variable(self, weights: Tensor) -> Tensor:
        """x of each row, as a function of the weights."""
        settings = self.settings
        if settings.mode == "reparam":
            assert self.code is not None
            raw, _ = self.net(weights, self.code, ())
            return self.instances.constraint(raw if self.base is None else self.base + raw, self.data)
        assert self.current is not None
        code = self.code
        down = None
        if code is None or settings.skip:
            found = slope(self.instances.objective, self.current, self.data)
            down = found / column(length(found), found)
            code = self._scaled(found) if code is None else code
        raw, self.state = self.net(weights, code, self.state)
        reach = column(length(self.current.detach()), raw) if settings.normalise else 1.0
        move = raw if down is None or not settings.skip else raw - settings.skip * self._fallen(self.taken) * down
        return self.instances.constraint(self.current + reach * move, self.data)

    def _fallen(self, step: int) -> float:
        """The share of the first rate at a step."""
        wave = 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, self.settings.steps - 1))))
        return self.settings.fall + (1 - self.settings.fall) * wave

    def step(self) -> Tensor:
        """One step of all rows that still run; returns their variables `n *shape`, detached."""
        weights = self.weights.requires_grad_()
        variable = self._variable(weights)
        at = variable.detach()
        if self.instances.inner is not None:
            self.instances.inner(at, self.data)
        losses = self.instances.objective(variable, self.data)
        self._keep(at, losses.detach())
        wanted = losses.sum()
        for loss in self.instances.auxiliary:
            wanted = wanted + loss(variable, self.data).sum()
        self.total = wanted if self.total is None else self.total + wanted
        self.taken += 1
        self.current = variable
        if self.taken % self.settings.accumulate == 0:
            self._move(weights)
        return at

    def _keep(self, variables: Tensor, losses: Tensor) -> None:
        if self.best is None:
            self.best = variables.clone()
        better = losses < self.losses  # a loss that is not finite is never better
        self.losses = torch.where(better, losses, self.losses)
        self.best = torch.where(column(better, variables), variables, self.best)
        self.curve.append((self.rows, self.losses))

    def _move(self, weights: Tensor) -> None:
        """Adam on the losses summed so far, and Langevin's noise."""
        assert self.total is not None and self.current is not None
        (found,) = torch.autograd.grad(self.total, weights)
        self.total, self.current = None, self.current.detach()
        self.state = tuple(part.detach() for part in self.state)
        self.moves += 1
        settings = self.settings
        rate = settings.rate * self._fallen(self.taken - 1)
        with torch.no_grad():
            self.first.lerp_(found, 0.1)
            self.second.mul_(0.999).addcmul_(found, found, value=0.001)
            reach = (self.second.sqrt() / (1 - 0.999**self.moves) ** 0.5).add_(1e-8)
            after = weights.detach().addcdiv(self.first, reach, value=-rate / (1 - 0.9**self.moves))
            if settings.langevin:
                noise = torch.randn(settings.restarts, after.shape[1], generator=self.rng, dtype=torch.float64)
                after += settings.langevin * (2 * rate) ** 0.5 * noise.to(after)[self.rows % settings.restarts]
        self.weights = after

    def drop(self) -> None:
        """Take out rows that gained too little since the last look; the others' numbers stay as they are."""
        before, self.known = self.known, self.losses
        gain = before - self.losses
        stays = ~(gain < self.settings.tolerance * self.losses.abs().clamp_min(1e-12))  # inf - inf is not less
        if bool(stays.all()) or self.best is None or self.current is None:
            return
        self.stopped.append(self._finished(~stays))
        self.rows, self.data = self.rows[stays], tuple(part[stays] for part in self.data)
        self.weights, self.first, self.second = self.weights[stays], self.first[stays], self.second[stays]
        self.losses, self.known, self.best = self.losses[stays], self.known[stays], self.best[stays]
        self.current, self.state = self.current[stays], tuple(part[stays] for part in self.state)
        self.code = None if self.code is None else self.code[stays]
        self.base = None if self.base is None else self.base[stays]

    def _finished(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
        assert self.best is not None and self.current is not None
        return self.rows[rows], self.best[rows], self.losses[rows], self.current.detach()[rows], self.taken

    def run(self, steps: int) -> None:
        """Take steps until they are done or every row has stopped."""
        for _ in range(steps):
            if not len(self.rows):
                return
            self.step()
            due = self.taken - self.checked >= self.settings.patience and self.taken % self.settings.accumulate == 0
            if self.settings.tolerance > 0 and due:
                self.checked = self.taken
                self.drop()

    def result(self) -> Solution:
        """The best found so far; steps may follow.

        Raises:
            Diverged: an instance never had a finite objective.
        """
        pieces = [*self.stopped, self._finished(torch.ones_like(self.rows, dtype=torch.bool))]
        order = torch.cat([rows for rows, *_ in pieces]).argsort()
        best, losses, finals = (
            torch.cat(parts)[order]
            for parts in ([one[1] for one in pieces], [one[2] for one in pieces], [one[3] for one in pieces])
        )
        taken = torch.cat([torch.full_like(piece[0], piece[4]) for piece in pieces])[order]
        curve = losses.new_empty(len(self.curve), len(order))
        latest = torch.full_like(losses, math.inf)
        for step, (rows, values) in enumerate(self.curve):
            latest[rows] = values
            curve[step] = latest
        split = (len(self.instances), self.settings.restarts)
        losses = losses.view(split)
        loss, restart = losses.min(dim=1)
        if not bool(loss.isfinite().all()):
            odd = int((~loss.isfinite()).sum())
            raise Diverged(f"solver: {odd} of {len(loss)} instances had no finite objective; lower the rate")
        chosen = torch.arange(split[0], device=self.device) * split[1] + restart
        return Solution(
            variable=best[chosen],
            loss=loss,
            restart=restart,
            losses=losses,
            finals=finals.unflatten(0, split),
            trajectory=curve.view(len(curve), *split).amin(dim=2),
            steps=taken.view(split).amax(dim=1),
        )


def solve(net: Net, instances: Instances, *, settings: SolverSettings, rng: torch.Generator) -> Solution:
    """Solve all instances at once: `settings.steps` steps of a `Solver`.

    Raises:
        FoundryError: what was given does not fit together. Diverged: an instance never had a finite objective.
    """
    solver = Solver(net, instances, settings=settings, rng=rng)
    solver.run(settings.steps)
    return solver.result()

"""Learning-aided gradient descent (Xia et al., 2022): a small untrained network a channel finds the precoders.

Five forms of one solver (see `instance_optimiser`), the precoders V written as rows of real and imaginary parts:

  released   V = V_0 + G(slope at V_0), V_0 = MRT, G two linear maps: what the authors' program does. Nothing iterates;
             noise of the same length does as well as the slope.
  published  V <- V + G(slope at V): their Algorithm 1. G's first, random steps throw V about faster than it learns.
  stabilised the same with slopes of length 1, a G that starts at zero and a share of plain gradient.
  adam       V itself, no network.
  best       RZF, MRT, random starts and RZF without one of the users. Each is improved by bisection-free WMMSE twice:
             as it is, and from where the released form's network has brought it. WMMSE once more from the four best;
             the best of all starts and results is kept.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from srfoundry.core.errors import FoundryError
from srfoundry.solver import instance_optimiser
from srfoundry.solver.batched_networks import Activation, Convolved, Dense, Free, Net, Recurrent
from srfoundry.solver.beamforming.precoders import (
    Downlink,
    Precoders,
    full_power,
    mrt,
    random_starts,
    rate,
    rzf,
    wmmse_without_bisection,
)
from srfoundry.solver.beamforming.settings import Form, Kind
from srfoundry.solver.constraints import ball, sphere
from srfoundry.solver.problem import Data, Instances, Solution
from srfoundry.solver.settings import SolverSettings

Start = Literal["mrt", "rzf", "random"]
Surface = Literal["ball", "sphere"]


@dataclass(frozen=True)
class Beams:
    """Precoders at no more than the power P, their weighted sum rates in bit, and each step's best so far."""

    precoders: Complex[Tensor, "b k m"]
    rates: Float[Tensor, " b"]
    trajectory: Float[Tensor, "t b"]


def network(
    kind: Kind, antennas: int, *, hidden: int | None = None, layers: int | None = None, zero_head: bool = False
) -> Net:
    """The update rule G for 2M numbers a user: linear 20 as released, 2 x 40 with tanh, LSTM 2 x 40, or two 3-taps."""
    features = 2 * antennas
    if kind == "linear":
        return Dense(features, (hidden or 20,) * (layers or 1), zero_head=zero_head)
    if kind == "mlp":
        activation: Activation = "tanh"  # of ReLU and tanh, the one that the iterated form gets further with
        return Dense(features, (hidden or 40,) * (layers or 2), activation, zero_head=zero_head)
    if kind == "lstm":
        return Recurrent(features, hidden or 40, layers or 2, zero_head=zero_head)
    return Convolved(features, layers or 2, zero_head=zero_head)


@dataclass(frozen=True)
class LagdForm:
    """How one form solves.

    Args:
        settings: of the solver.
        surface: ball = scaled down only where V uses too much power, as released | sphere = always to full power,
            which loses nothing.
        code: the net's input.
        zero_head: whether the net starts at zero.
    """

    settings: SolverSettings
    surface: Surface = "sphere"
    code: Literal["slope", "noise"] = "slope"
    zero_head: bool = False

    def of(self, **changes: Any) -> "LagdForm":
        """The same with other values of the solver's settings."""
        return replace(self, settings=replace(self.settings, **changes))


RELEASED = LagdForm(SolverSettings(mode="reparam", steps=500, rate=1e-2), surface="ball")
PUBLISHED = LagdForm(SolverSettings(mode="iterate", steps=500, rate=1e-4), surface="ball")
STABILISED = LagdForm(SolverSettings(mode="iterate", steps=500, rate=1e-4, normalise=True, skip=0.02), zero_head=True)
ADAM = LagdForm(SolverSettings(mode="reparam", steps=500, rate=0.1))
FORMS = {"released": RELEASED, "published": PUBLISHED, "stabilised": STABILISED}  # those with a network, by their names


def lagd(
    given: Downlink,
    net: Net,
    form: LagdForm,
    *,
    rng: torch.Generator,
    start: Start = "mrt",
    precision: torch.dtype = torch.float64,
) -> Beams:
    """Solve every instance by a net of its own; `form.settings.restarts` of them, of which the best is kept.

    Args:
        start: V_0; random is another one for each restart.
        precision: of the iterates; rates are found anew in double precision.

    Raises:
        FoundryError: what was given does not fit together. Diverged: see `instance_optimiser.solve`.
    """
    if start == "random":
        base = random_starts(given, form.settings.restarts, rng=rng)
    else:
        base = (mrt if start == "mrt" else rzf)(given)[:, None]
    return _beams(given, _maximise_rate(given, base, net, form, rng=rng, precision=precision), form.surface)


def _maximise_rate(
    given: Downlink,
    base: Complex[Tensor, "b r k m"],
    net: Net,
    form: LagdForm,
    *,
    rng: torch.Generator,
    precision: torch.dtype = torch.float64,
) -> Solution:
    """Hand the sum rate to the solver, in real numbers: twice as quick as complex ones."""
    channels = given.channels
    real = torch.cat([channels.real, channels.imag], dim=2)
    turned = torch.cat([-channels.imag, channels.real], dim=2)
    # [Re h | Im h] X^T and [-Im h | Re h] X^T are the real and imaginary parts of h^H v
    parts = (torch.cat([real, turned], dim=1), given.power[:, None], given.noise[:, None], given.weights)
    data = tuple(part.to(precision) for part in parts)
    written = torch.cat([base.real, base.imag], dim=3).to(precision)
    limit = sphere if form.surface == "sphere" else ball
    instances = Instances(
        minus_rate, lambda variable, data: limit(variable, data[1][:, 0]), data=data, base=written, code=form.code
    )
    return instance_optimiser.solve(net, instances, settings=form.settings, rng=rng)


def minus_rate(variable: Float[Tensor, "n k m2"], data: Data) -> Float[Tensor, " n"]:
    """-sum_i a_i log2(1 + SINR_i) of rows [Re v | Im v]."""
    channels, _, noise, weights = data
    parts = torch.bmm(channels, variable.mT).square()
    power = parts[:, : variable.shape[1]] + parts[:, variable.shape[1] :]
    received = power.sum(dim=2) + noise
    disturbed = received - power.diagonal(dim1=1, dim2=2)
    return (weights * (disturbed.log2() - received.log2())).sum(dim=1)


def _complex(variable: Float[Tensor, "b k m2"]) -> Precoders:
    real, imaginary = variable.double().chunk(2, dim=2)
    return torch.complex(real, imaginary)


def _beams(given: Downlink, found: Solution, surface: Surface) -> Beams:
    precoders = _complex(found.variable)
    scaled = full_power(given, precoders)  # rounding in single precision is beyond 1e-6
    used = precoders.abs().square().sum(dim=(1, 2), keepdim=True)
    over = used > given.power[:, None, None]
    precoders = scaled if surface == "sphere" else torch.where(over, scaled, precoders)
    return Beams(precoders, rate(given, precoders), -found.trajectory.double())


def adam(given: Downlink, *, form: LagdForm = ADAM, rng: torch.Generator, start: Start = "mrt") -> Beams:
    """Adam on V; its rate is in units of sqrt(P / 100), the size of V's numbers at 30 dB.

    Raises:
        FoundryError: instances of several powers; solve them by themselves.
    """
    power = given.power.unique()
    if len(power) > 1:
        raise FoundryError(f"adam takes instances of one power, got {power.tolist()}; solve them apart")
    users, antennas = given.channels.shape[1:]
    moving = form.of(rate=form.settings.rate * float(power / 100) ** 0.5)
    return lagd(given, Free((users, 2 * antennas)), moving, rng=rng, start=start)


def starts(given: Downlink, count: int, *, rng: torch.Generator) -> Complex[Tensor, "b r k m"]:
    """RZF, MRT, random ones, and RZF without one of the users, the weakest first: where few users are served best.

    A third of `count` is random, and more where there are not users enough to leave out.
    """
    first = rzf(given)
    own = (given.channels.conj() * first).sum(dim=2).abs()
    left_out = max(0, min(given.channels.shape[1], count - 2 - count // 3))
    left_out = 0 if given.channels.shape[1] == 1 else left_out
    drawn = random_starts(given, max(0, count - 2 - left_out), rng=rng)
    found = [first[:, None], mrt(given)[:, None], drawn]
    for rank in range(left_out):
        weakest = (given.weights * own).argsort(dim=1)[:, rank]
        stays = torch.ones_like(given.weights).scatter(1, weakest[:, None], 0.0)
        # nothing would be left to serve: RZF of all once more, from where another net goes on
        stays = torch.where((given.weights * own * stays).sum(dim=1, keepdim=True) > 0, stays, 1.0)
        fewer = replace(given, channels=given.channels * stays[:, :, None])
        found.append(rzf(fewer)[:, None])
    return torch.cat(found, dim=1)[:, :count]


def best(
    given: Downlink,
    *,
    rng: torch.Generator,
    restarts: int = 16,
    steps: int = 100,
    rounds: int = 60,
    polish: int = 200,
    learning_rate: float = 0.03,
) -> Beams:
    """The preset that is never worse than any of its parts.

    Every start is improved twice: by `rounds` of bisection-free WMMSE alone, and by `steps` of the network first, whose
    last iterates go on. The four best of all of them go on for `polish` rounds.

    Args:
        steps: 0 leaves the network out; the trajectory then is the best start alone.
    """
    count = len(given.channels)
    base = starts(given, restarts, rng=rng)
    many = given.repeated(restarts)
    tried = [wmmse_without_bisection(many, base.flatten(0, 1), iterations=rounds)]
    trajectory = rate(many, base.flatten(0, 1)).view(1, count, restarts).amax(dim=2)
    if steps:
        form = replace(RELEASED.of(steps=steps, restarts=restarts, rate=learning_rate), surface="sphere")
        found = _maximise_rate(given, base, network("linear", given.channels.shape[2]), form, rng=rng)
        tried.append(wmmse_without_bisection(many, _complex(found.finals.flatten(0, 1)), iterations=rounds))
        trajectory = -found.trajectory
    rates = torch.cat([rate(many, each).view(count, restarts) for each in tried], dim=1)
    whole = torch.cat([each.unflatten(0, (count, restarts)) for each in tried], dim=1)
    final = _polished(given, whole, rates, polish)
    return Beams(final, rate(given, final), trajectory)


def _polished(
    given: Downlink, found: Complex[Tensor, "b r k m"], rates: Float[Tensor, "b r"], rounds: int
) -> Complex[Tensor, "b k m"]:
    """The best of the four best of each instance, and of what further WMMSE makes of them."""
    count, leaders = len(rates), min(4, rates.shape[1])
    rows = torch.arange(count, device=rates.device)[:, None]
    chosen = found[rows, rates.topk(leaders, dim=1).indices].flatten(0, 1)
    few = given.repeated(leaders)
    ended = torch.cat([chosen, wmmse_without_bisection(few, chosen, iterations=rounds)])
    ended = ended.view(2, count, leaders, *chosen.shape[1:])
    scores = torch.stack([rate(few, each.flatten(0, 1)).view(count, leaders) for each in ended], dim=1)
    return ended.transpose(0, 1).flatten(1, 2)[rows[:, 0], scores.flatten(1).argmax(dim=1)]


def beams(
    given: Downlink, form: Form, *, rng: torch.Generator, kind: Kind = "linear", steps: int = 500, restarts: int = 1
) -> Beams:
    """One of the forms at the top of this file; with restarts, those with a network begin at random."""
    if form == "best":
        return best(given, rng=rng, restarts=max(2, restarts))
    if form == "adam":
        return adam(given, form=ADAM.of(steps=steps), rng=rng)
    chosen = FORMS[form].of(steps=steps, restarts=restarts)
    net = network(kind, given.channels.shape[2], zero_head=chosen.zero_head)
    return lagd(given, net, chosen, rng=rng, start="random" if restarts > 1 else "mrt")

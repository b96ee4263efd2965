"""The per-instance optimiser reaches known optima, and instances are independent."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from scipy.optimize import nnls
from torch import Tensor, nn
from torch.nn import functional

from srfoundry.core import seeds
from srfoundry.core.errors import Diverged, FoundryError
from srfoundry.solver import instance_optimiser
from srfoundry.solver.batched_networks import Convolved, Dense, Free, Net, Recurrent, Wrapped
from srfoundry.solver.constraints import shares, simplex, sphere
from srfoundry.solver.instance_optimiser import solve
from srfoundry.solver.problem import Data, Instances, Solution
from srfoundry.solver.settings import SolverSettings


def rayleigh(variable: Tensor, data: Data) -> Tensor:
    """-x'Ax of each row: the least on the unit sphere is minus A's largest eigenvalue."""
    x = variable.flatten(1)
    return -torch.einsum("ni,nij,nj->n", x, data[0], x)


def unit(variable: Tensor, data: Data) -> Tensor:
    """On the sphere of length 1."""
    return sphere(variable, 1.0)


def symmetric(count: int, size: int = 6) -> Tensor:
    """Random symmetric matrices."""
    half = torch.randn(count, size, size, generator=seeds.generator(0, "matrices"), dtype=torch.float64)
    return half + half.mT


def starts(count: int, size: int = 6) -> Tensor:
    """A base point for each of them, `b 1 1 size`."""
    return torch.randn(count, 1, 1, size, generator=seeds.generator(1, "starts"), dtype=torch.float64)


def on_the_sphere(net: Net, settings: SolverSettings, chosen: slice = slice(None), **more: str) -> Solution:
    """Solve five eigenvalue problems, or some of them."""
    rng = seeds.generator(2, "solver")
    instances = Instances(rayleigh, unit, data=(symmetric(5)[chosen],), base=starts(5)[chosen], **more)  # type: ignore[arg-type]
    return solve(net, instances, settings=settings, rng=rng)


QUICK = SolverSettings(steps=100, rate=0.1, fall=0.01, restarts=2)
ITERATED = SolverSettings(
    mode="iterate", steps=150, rate=1e-3, fall=0.01, restarts=2, normalise=True, skip=0.3, accumulate=3
)


@pytest.mark.parametrize(
    ("net", "settings"),
    [
        (Free((1, 6)), dataclasses.replace(QUICK, rate=0.3)),
        (Dense(6, (20,)), QUICK),
        (Dense(6, (20, 20), "tanh"), QUICK),
        (Convolved(6), QUICK),
        (Recurrent(6, 20), QUICK),
        (Dense(6, (20,), zero_head=True), ITERATED),
        (Recurrent(6, 20, zero_head=True), ITERATED),
        (Convolved(6, zero_head=True), ITERATED),
    ],
)
def test_top_eigenvector(net: Net, settings: SolverSettings) -> None:
    """Every net and both modes reach the largest eigenvalue of each instance."""
    settings = dataclasses.replace(settings, restarts=4)
    found = on_the_sphere(net, settings)
    top = torch.linalg.eigvalsh(symmetric(5))[:, -1]
    assert torch.allclose(-found.loss, top, rtol=1e-3 if settings.mode == "reparam" else 5e-3)
    assert torch.allclose(found.variable.flatten(1).norm(dim=1), torch.ones(5).double(), atol=1e-12)
    assert (found.trajectory.diff(dim=0) <= 0).all() and found.trajectory[-1].equal(found.loss)
    assert torch.allclose(rayleigh(found.variable, (symmetric(5),)), found.loss, atol=1e-12)


def test_least_squares_on_the_simplex_equals_nnls() -> None:
    """min |Ax - b| with x >= 0 of sum 1, by a softmax and by clamping, against Lawson and Hanson's method."""
    rng = seeds.generator(3, "squares")
    matrix = torch.randn(4, 12, 6, generator=rng, dtype=torch.float64)
    wanted = torch.randn(4, 12, generator=rng, dtype=torch.float64)

    def objective(variable: Tensor, data: Data) -> Tensor:
        return (torch.einsum("nij,nj->ni", data[0], variable) - data[1]).square().sum(dim=1)

    def exact(index: int) -> Tensor:
        rows = torch.cat([matrix[index], torch.full((1, 6), 1e4, dtype=torch.float64)])
        right = torch.cat([wanted[index], torch.tensor([1e4], dtype=torch.float64)])
        return torch.from_numpy(nnls(rows.numpy(), right.numpy())[0])

    right = torch.stack([exact(index) for index in range(4)])
    ways: list[Callable[[Tensor], Tensor]] = [simplex, shares]
    for way in ways:
        found = solve(
            Free((6,)),
            Instances(
                objective,
                lambda variable, data, way=way: way(variable),
                data=(matrix, wanted),
                base=torch.full((4, 1, 6), 1 / 6, dtype=torch.float64),
            ),
            settings=SolverSettings(steps=400, rate=0.3 if way is simplex else 0.02, fall=0.001),
            rng=rng,
        )
        assert torch.allclose(found.variable.sum(dim=1), torch.ones(4).double()) and (found.variable >= 0).all()
        assert torch.allclose(objective(right, (matrix, wanted)), found.loss, rtol=2e-3)
        assert torch.allclose(right, found.variable, atol=5e-3)


def test_equals_plain_adam_on_a_module() -> None:
    """One instance and one restart: PyTorch's own Adam on the module, step for step."""

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 6)).double()

    matrix, base = symmetric(1), starts(1)
    settings = SolverSettings(steps=20, rate=0.01)
    instances = Instances(rayleigh, unit, data=(matrix,), base=base)
    found = solve(Wrapped(build), instances, settings=settings, rng=seeds.generator(4, "adam"))
    module = build()
    seeds.redraw(module, seeds.generator(4, "adam"))
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    code = instance_optimiser.slope(rayleigh, base[:, 0], (matrix,))
    losses = []
    for _ in range(20):
        optimiser.zero_grad()
        loss = rayleigh(unit(base[:, 0] + module(code), ()), (matrix,)).sum()
        losses.append(loss.detach())
        loss.backward()
        optimiser.step()
    start = rayleigh(unit(base[:, 0], ()), (matrix,))
    best = torch.cat([start, torch.stack(losses)]).cummin(dim=0).values[1:]
    assert torch.allclose(best, found.trajectory[:, 0], atol=1e-12)


@pytest.mark.parametrize("settings", [QUICK, ITERATED])
def test_never_worse_than_the_base(settings: SolverSettings) -> None:
    """From the optimum, with a rate that only throws the variable about."""
    values, vectors = torch.linalg.eigh(symmetric(5))
    base = vectors[:, :, -1].view(5, 1, 1, 6) * 3.0  # on the sphere when the constraint has been at it
    wild = dataclasses.replace(settings, steps=5, rate=10.0)
    instances = Instances(rayleigh, unit, data=(symmetric(5),), base=base)
    found = solve(Dense(6), instances, settings=wild, rng=seeds.generator(11, "w"))
    assert torch.allclose(-found.loss, values[:, -1], atol=1e-9)
    assert torch.allclose(rayleigh(found.variable, (symmetric(5),)), found.loss, atol=1e-12)


def test_weights_move_along_all_accumulated_losses() -> None:
    """Two losses of a window: the weights move along the gradient of their sum, through both iterates."""
    net, matrix, base = Dense(6, (4,)), symmetric(1), starts(1)
    settings = SolverSettings(mode="iterate", steps=2, accumulate=2, rate=0.01)
    rng = seeds.generator(5, "window")
    made = instance_optimiser.Solver(
        net, Instances(rayleigh, unit, data=(matrix,), base=base), settings=settings, rng=rng
    )
    weights = made.weights.clone().requires_grad_()
    made.run(2)
    at, total = base[:, 0], torch.zeros(1, dtype=torch.float64)
    for _ in range(2):
        raw, _ = net(weights, instance_optimiser.slope(rayleigh, at, (matrix,)), ())
        at = unit(at + raw, ())
        total = total + rayleigh(at, (matrix,))
    (slope,) = torch.autograd.grad(total.sum(), weights)
    assert torch.allclose(made.first, 0.1 * slope, atol=1e-12)


@pytest.mark.parametrize("settings", [QUICK, ITERATED])
@pytest.mark.parametrize("code", ["slope", "noise"])
def test_instances_are_independent(settings: SolverSettings, code: str) -> None:
    """All together, alone, and in another order; with noise on the weights and rows that stop early."""
    chosen = dataclasses.replace(settings, steps=60, langevin=0.001, tolerance=1e-2, patience=6)
    together = on_the_sphere(Dense(6), chosen, code=code)
    for index in (0, 3):
        alone = on_the_sphere(Dense(6), chosen, slice(index, index + 1), code=code)
        assert torch.allclose(alone.variable[0], together.variable[index], atol=1e-6)
        assert int(alone.steps) == int(together.steps[index])
    again = on_the_sphere(Dense(6), chosen, code=code)
    assert again.variable.equal(together.variable) and again.finals.equal(together.finals)
    assert len(together.steps.unique()) > 1, "some rows should stop early"


def test_many_starts_auxiliary_losses_and_the_other_block() -> None:
    """A start for each restart; an auxiliary pull moves the result; the inner block is called in every step."""
    called: list[Tensor] = []
    wanted = starts(1)[0, 0]
    found = solve(
        Free((1, 6)),
        Instances(
            rayleigh,
            unit,
            data=(symmetric(2),),
            base=starts(6).view(2, 3, 1, 6),
            auxiliary=[lambda variable, data: 1e4 * (variable - unit(wanted[None], data)).square().sum(dim=(1, 2))],
            inner=lambda variable, data: called.append(variable),
        ),
        settings=dataclasses.replace(QUICK, restarts=3, steps=100, rate=0.3),
        rng=seeds.generator(6, "more"),
    )
    assert len(called) == 100 and called[0].shape == (6, 1, 6) and not called[0].requires_grad
    assert found.finals.shape == (2, 3, 1, 6)
    assert (found.finals - unit(wanted[None], ())).abs().max() < 0.1
    assert found.losses.shape == (2, 3) and found.losses.amin(dim=1).equal(found.loss)


def test_own_code_without_a_base() -> None:
    """A kernel's way: fixed code, softmax, no base point; weights in single precision."""
    target = simplex(torch.randn(1, 3, 3, generator=seeds.generator(7, "kernel")))

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(10, 30), nn.ReLU6(), nn.Linear(30, 9), nn.Unflatten(-1, (3, 3)))

    found = solve(
        Wrapped(build),
        Instances(
            lambda variable, data: (variable - target).square().sum(dim=(1, 2)),
            lambda variable, data: simplex(variable),
            code=torch.rand(1, 10, generator=seeds.generator(9, "kernel")),
        ),
        settings=SolverSettings(steps=200),
        rng=seeds.generator(8, "kernel"),
    )
    assert found.variable.shape == (1, 3, 3) and float(found.loss) < 1e-6


def test_nets_are_pytorchs() -> None:
    """Stacked layers compute what PyTorch's modules do; so do their sizes (LAGD's tables)."""
    assert Dense(8).parameters == 348 and Dense(16).parameters == 676
    assert Dense(8, (40, 40)).parameters == 2328 and Dense(16, (40, 40)).parameters == 2976
    assert Recurrent(8).parameters == 21448 and Convolved(8).parameters == 80
    rng = seeds.generator(10, "nets")
    code = torch.randn(2, 5, 8, generator=rng)
    dense = Dense(8, (7,), "relu")
    weights = dense.draw(2, rng=rng, dtype=torch.float32)
    parts = dense.parts(weights)
    for row in range(2):
        middle = functional.relu(code[row] @ parts["0.weight"][row] + parts["0.bias"][row])
        assert torch.allclose(dense(weights, code, ())[0][row], middle @ parts["1.weight"][row] + parts["1.bias"][row])
    net = Recurrent(8, 6)
    weights = net.draw(2, rng=rng, dtype=torch.float32)
    parts = net.parts(weights)
    said, state = net(weights, code, ())
    said, state = net(weights, code, state)
    for row in range(2):
        memory = nn.LSTM(8, 6, 2)
        with torch.no_grad():
            for layer in range(2):
                getattr(memory, f"weight_ih_l{layer}").copy_(parts[f"{layer}.input"][row].T)
                getattr(memory, f"weight_hh_l{layer}").copy_(parts[f"{layer}.memory"][row].T)
                getattr(memory, f"bias_ih_l{layer}").copy_(parts[f"{layer}.input_bias"][row, 0])
                getattr(memory, f"bias_hh_l{layer}").copy_(parts[f"{layer}.memory_bias"][row, 0])
        right = memory(code[row].expand(2, 5, 8))[0][-1] @ parts["head.weight"][row] + parts["head.bias"][row]
        assert torch.allclose(said[row], right, atol=1e-5)


def test_mistakes_are_said() -> None:
    """Nothing to start from, axes that differ, restarts without starts, early stop beside another block, no luck."""
    rng = seeds.generator(0, "mistakes")
    data, base = (symmetric(2),), starts(2)
    broken = (torch.stack([data[0][0], torch.full((6, 6), torch.nan, dtype=torch.float64)]),)
    early = dataclasses.replace(QUICK, tolerance=1e-3)
    for error, said, settings, given in (
        (FoundryError, "needs a base point", QUICK, Instances(rayleigh, unit, data)),
        (FoundryError, "one leading instance axis", QUICK, Instances(rayleigh, unit, data, base[:1])),
        (FoundryError, "1 or 2 starts", QUICK, Instances(rayleigh, unit, data, base.expand(2, 3, 1, 6))),
        (FoundryError, "beside an inner block", early, Instances(rayleigh, unit, data, base, inner=lambda v, d: None)),
        (Diverged, "1 of 2 instances", QUICK, Instances(rayleigh, unit, broken, base)),
    ):
        with pytest.raises(error, match=said):
            solve(Dense(6), given, settings=settings, rng=rng)
    with pytest.raises(FoundryError, match="1 or more"):
        SolverSettings(steps=0)
    for wrong in (
        {"skip": -0.1, "mode": "iterate", "normalise": True},
        {"skip": 0.1},
        {"skip": 0.1, "mode": "iterate"},
    ):
        with pytest.raises(FoundryError, match="skip of 0"):
            SolverSettings(**wrong)  # type: ignore[arg-type]

"""Costs as tables: exact against nets that are really thinned, met by chosen widths and by every baseline."""

import itertools
import typing
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from srfoundry.compression.baselines import Baseline, choose_channels
from srfoundry.compression.budget import Budget, kinds, ladders_of
from srfoundry.compression.latency import ascending, onnx_runner, proved
from srfoundry.compression.width_choice import nearest, uniform_widths, wider
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator, redraw
from srfoundry.networks.sr.drn import DRN
from srfoundry.networks.sr.multiplications import multiplications
from srfoundry.networks.sr.prunable import largest, thin
from tests.closed import count
from tests.searches import wanted
from tests.stub import Attentive, attentive

LOW = torch.rand(1, 3, 6, 8, generator=generator(1, "low"))


def drn() -> DRN:
    net = DRN(scale=4, blocks=2, width=16)
    redraw(net, generator(1, "net"))
    return net


def budgets(net: DRN | Attentive, multiple: int) -> dict[str, Budget]:
    units = net.units()
    ladders = ladders_of(net, units, multiple)
    return {
        "parameters": Budget.parameters(net, units, ladders),
        "macs": Budget.multiplications(net, units, ladders, LOW),
    }


@pytest.mark.parametrize("make", [drn, attentive])
def test_costs_are_those_of_the_thinned_net(make: Callable[[], DRN | Attentive]) -> None:
    net = make()
    found = budgets(net, 4)
    rng = generator(1, "widths")
    for _ in range(4):
        widths = [steps[int(torch.randint(len(steps), (1,), generator=rng))] for steps in found["macs"].ladders]
        smaller = thin(net, net.units(), largest(net, net.units(), widths))
        assert found["parameters"].cost(widths) == count(smaller)
        assert found["macs"].cost(widths) == multiplications(smaller, LOW)
        assert found["macs"].removed(widths) == pytest.approx(1 - multiplications(smaller, LOW) / found["macs"].total)
    assert found["macs"].total == multiplications(net, LOW)


def test_between_the_widths_of_a_ladder_costs_are_exact_too() -> None:
    net = drn()
    coarse, fine = budgets(net, 16)["macs"], budgets(net, 4)["macs"]
    widths = [12, 20, *[28] * 6]
    assert coarse.cost(widths) == pytest.approx(fine.cost(widths), rel=1e-12)
    with pytest.raises(ValueError, match="a width must be"):
        coarse.cost([2, *widths[1:]])


def test_expectations_are_exact() -> None:
    for budget in budgets(attentive(), 4).values():
        rng = generator(1, "shares")
        shares = [torch.softmax(torch.randn(len(steps), generator=rng).double(), 0) for steps in budget.ladders]
        exact = 0.0
        for picks in itertools.product(*[range(len(steps)) for steps in budget.ladders]):
            chance = torch.stack([share[i] for share, i in zip(shares, picks, strict=True)]).prod()
            exact += float(chance) * budget.removed([s[i] for s, i in zip(budget.ladders, picks, strict=True)])
        assert float(budget.expected_removed(shares)) == pytest.approx(exact, rel=1e-12)


def test_units_of_a_kind_are_alike() -> None:
    net = drn()
    found = kinds(net, net.units(), LOW)
    assert len(found) == 8 and len(set(found)) == 6, "two down phases; blocks and shuffle of each of two up phases"
    assert found[2] == found[3] and found[5] == found[6]


@pytest.mark.parametrize("measure", ["parameters", "macs"])
@pytest.mark.parametrize("remove", [0.3, 0.5, 0.7])
def test_uniform_widths_meet_the_budget(measure: str, remove: float) -> None:
    net = drn()
    budget = budgets(net, 4)[measure]
    widths = uniform_widths(budget, wanted(remove, 0.01))
    assert remove <= budget.removed(widths) <= remove + 0.01
    ratios = [width / full for width, full in zip(widths, budget.dense, strict=True)]
    assert max(ratios) - min(ratios) <= 0.26, "no further apart than the narrowest unit's ladder is coarse"
    assert nearest(budget, widths, wanted(remove, 0.01)) == widths


@pytest.mark.parametrize("make", [drn, attentive])
@pytest.mark.parametrize("baseline", ["uniform", "random", "torch_pruning"])
def test_baselines_meet_the_budget_and_give_a_net(make: Callable[[], DRN | Attentive], baseline: Baseline) -> None:
    if baseline == "torch_pruning":
        pytest.importorskip("torch_pruning")
    net = make()
    budget = budgets(net, 4 if isinstance(net, DRN) else 1)["parameters"]
    kept = [choose_channels(baseline, net, budget, wanted(0.4, 0.02), rng=generator(1, "channels")) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*kept, strict=True))
    assert all(channels.tolist() == sorted(set(channels.tolist())) for channels in kept[0])
    smaller = thin(net, net.units(), kept[0])
    assert 0.4 <= 1 - count(smaller) / count(net) <= 0.42
    assert smaller(LOW).shape == net(LOW).shape


def test_the_library_drops_what_is_small() -> None:
    """Faint channels are the first to go, the shuffle's four outputs a channel and all."""
    pytest.importorskip("torch_pruning")
    net = attentive()
    with torch.no_grad():
        for name, rows in (("fc1", slice(0, 6)), ("spread", slice(0, 16))):
            net.get_parameter(f"{name}.weight")[rows] *= 1e-3
        net.get_parameter("fc2.weight")[:, :6] *= 1e-3
        net.get_parameter("tail.weight")[:, :4] *= 1e-3
    budget = budgets(net, 1)["parameters"]
    kept = choose_channels("torch_pruning", net, budget, wanted(0.4, 0.02), rng=generator(1, "channels"))
    for channels, strong in ((kept[1], set(range(6, 12))), (kept[2], set(range(4, 8)))):
        assert set(channels.tolist()) <= strong or strong <= set(channels.tolist())


def test_where_ladders_are_too_coarse_few_units_step_between() -> None:
    """One unit of sixteen alike has a width that is no multiple, and the budget is met."""
    ladders, costs = ((16, 32, 48, 64),) * 16, (16 * 1.35, 32 * 1.35, 48 * 1.35, 64 * 1.35)
    budget = Budget(1600.0, ladders, (costs,) * 16)
    for remove in (0.3, 0.5, 0.62):
        widths = uniform_widths(budget, wanted(remove, 0.005))
        assert remove <= budget.removed(widths) <= remove + 0.005
        assert sum(width % 16 > 0 for width in widths) <= 1


def test_more_than_there_is_cannot_go() -> None:
    net = drn()
    with pytest.raises(FoundryError, match="the fraction to remove must be at most"):
        uniform_widths(budgets(net, 16)["parameters"], wanted(0.9, 0.01))


def test_what_is_left_to_search_is_counted() -> None:
    """Four layers of ten channels, 4 the fewest that stay: near the most that can go, none can have more."""
    budget = Budget(400.0, ((4, 7, 10),) * 4, ((40.0, 70.0, 100.0),) * 4)
    assert budget.most() == pytest.approx(0.6)
    assert [wider(budget, wanted(remove, 0.01)) for remove in (0.3, 0.52, 0.53, 0.59)] == [4, 4, 0, 0]


def test_measured_times_ascend() -> None:
    assert ascending([1.0, 3.0, 2.0, 4.0]) == [1.0, 2.5, 2.5, 4.0]
    assert ascending([3.0, 2.0, 1.0]) == [2.0, 2.0, 2.0]


def test_latency_is_a_budget_too() -> None:
    """With a runner that "measures" the multiply-adds and a little more: the table is what was measured."""
    net = drn()
    units, ladders = net.units(), ladders_of(net, net.units(), 16)

    def runner(cut: nn.Module, low: Tensor) -> Callable[[], object]:
        return lambda: multiplications(cut, low) + 1e6

    def clock(call: Callable[[], object]) -> float:
        taken = call()
        assert isinstance(taken, float)
        return taken

    budget = Budget.latency(net, units, ladders, LOW, runner=runner, rounds=1, clock=clock)
    exact = Budget.multiplications(net, units, ladders, LOW)
    assert budget.total == pytest.approx(exact.total + 1e6)
    widths = [steps[0] for steps in ladders]
    assert budget.total - budget.cost(widths) == pytest.approx(exact.total - exact.cost(widths), rel=1e-6)
    chosen = uniform_widths(budget, wanted(0.5, 0.02))
    assert 0.5 <= budget.removed(chosen) <= 0.52


def test_times_that_say_nothing_are_refused() -> None:
    net = drn()
    with pytest.raises(FoundryError, match="a machine that does nothing else"):
        Budget.latency(
            net, net.units(), ladders_of(net, net.units(), 16), LOW, runner=lambda _net, _low: lambda: None,
            rounds=1, clock=lambda _call: 1.0,
        )  # fmt: skip


def test_a_cut_net_is_timed_against_the_whole_one(recwarn: pytest.WarningsRecorder) -> None:
    """In turns, so that a busy moment meets both; one warning where much less is saved than was to be."""
    net = drn()
    cut = thin(net, net.units(), largest(net, net.units(), [8] * 8))
    exact = multiplications(cut, LOW) / multiplications(net, LOW)
    spent: list[float] = []

    def clock(call: Callable[[], object]) -> float:
        spent.append(typing.cast(int, call()) * 1e-9 * (9.0 if 4 <= len(spent) < 8 else 1.0))
        return spent[-1]

    def check(remove: float) -> dict[str, float]:
        spent.clear()
        return proved(
            net, cut, LOW, predicted=0.7, remove=remove, rounds=7, clock=clock,
            runner=lambda each, low: lambda: multiplications(each, low),
        )  # fmt: skip

    saved = 1 - exact
    found = check(saved + 0.04)
    assert found == {"latency_ratio": pytest.approx(exact), "latency_ratio_predicted": pytest.approx(0.3)}
    assert len(spent) == 14 and not recwarn.list, "4 points short is near enough"
    with pytest.warns(
        UserWarning, match=rf"must be .* below .*got {saved:.1%} measured.*70\.0% was pre.*; search"
    ) as one:
        check(saved + 0.06)
    assert len(one) == 1


def test_a_net_is_timed_in_onnx_runtime() -> None:
    """What is timed is the net: the runtime's numbers are PyTorch's."""
    net = drn().eval()
    [restored] = typing.cast(list[Any], onnx_runner(net, LOW, threads=1)())
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(restored), net(LOW), atol=1e-5, rtol=0)

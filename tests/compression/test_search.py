"""Channel search: the released maths to the digit, exact budgets, exact second order, and a resumable search."""

import copy
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from srfoundry.compression.budget import Budget, ladder, ladders_of
from srfoundry.compression.relaxation import RELAXATIONS, candidates, mixed, mixing
from srfoundry.compression.search import WidthSearch, outer_loss
from srfoundry.compression.settings import Relaxation
from srfoundry.compression.width_choice import choose
from srfoundry.core.compute import Compute
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator, redraw
from srfoundry.core.state import Resumption
from srfoundry.dual_regression.loss import loss_of
from srfoundry.networks.sr.drn import DRN
from srfoundry.networks.sr.duals import DualNets
from srfoundry.networks.sr.multiplications import multiplications
from srfoundry.networks.sr.prunable import end_of, largest, thin
from tests.closed import CPU, count, fill, loss_weights, nets, photographs
from tests.conftest import reference
from tests.searches import along, in_one_part, modelled, wanted
from tests.stub import attentive


def test_candidates_as_released() -> None:
    for rate, channels, *widths in reference("drc_candidates")["table"]:
        assert candidates(int(channels), float(rate)) == [int(width) for width in widths]


def test_ladders_reach_from_narrow_to_full() -> None:
    assert ladder(48, 16) == [16, 32, 48]
    assert ladder(24, 16) == [4, 8, 12, 16, 20, 24]
    assert ladder(20, 8) == [8, 16, 20]
    assert ladder(1, 8) == [1]


def test_mixing_loss_and_architecture_gradient_as_released() -> None:
    data = reference("drc_search_mix")
    net = DRN(scale=4, blocks=1, width=16, peak=255.0).double()
    duals = DualNets(scale=4, width=16).double()
    fill(net)
    fill(duals)
    units = net.units()
    ladders = [data[f"chset{i}"].tolist() for i in range(len(units))]
    logits = [torch.tensor(row, requires_grad=True) for row in data["alphas"]]
    shares = [torch.softmax(row, dim=0) for row in logits]
    for i, (unit, share) in enumerate(zip(units, shares, strict=True)):
        weight = end_of(net, unit.consumer).weight
        corner = torch.from_numpy(data[f"layerw{i}"])
        torch.testing.assert_close(weight.detach()[:4, :4], corner, atol=1e-12, rtol=0)
        factors = mixing(share, weight, ladders[i]).detach()
        torch.testing.assert_close(factors, torch.from_numpy(data[f"mix{i}"]), atol=1e-12, rtol=0)
    batch = {4: data["val_lr4"], 2: data["val_lr2"], 1: data["val_hr"]}
    batch = {factor: torch.from_numpy(image).double() for factor, image in batch.items()}
    loss = loss_of(duals, scale=4, weights=loss_weights(0.1), compute=Compute(CPU))
    with mixed(net, units, ladders, shares):
        value = outer_loss(net, loss, batch, batch, order="first", inner_rate=0.0)
    assert float(value.detach()) == pytest.approx(float(data["loss"]), rel=1e-9)
    for i, gradient in enumerate(torch.autograd.grad(value, logits)):
        theirs = torch.from_numpy(data[f"dalpha{i}"])
        assert float((gradient - theirs).norm() / theirs.norm()) < 1e-7


def test_a_certain_mixture_is_the_net_cut_by_magnitude() -> None:
    net, _ = nets()
    units = net.units()
    ladders = ladders_of(net, units, 4)
    shares = [torch.eye(len(widths))[0] for widths in ladders]
    chosen = [widths[0] for widths in ladders]
    low = torch.rand(1, 3, 7, 6, generator=generator(1, "low"))
    with mixed(net, units, ladders, shares), torch.no_grad():
        wanted = net(low)
    smaller = thin(net, units, largest(net, units, chosen))
    torch.testing.assert_close(smaller(low), wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["threshold", "softmax"])
def test_the_expected_count_is_exact(kind: Relaxation) -> None:
    net = DRN(scale=2, blocks=2, width=16)
    units = net.units()
    budget = Budget.parameters(net, units, ladders_of(net, units, 8))
    widths = [8, 16, 32, 8]
    smaller = count(thin(net, units, largest(net, units, widths)))
    assert budget.total == count(net)
    assert budget.removed(widths) == pytest.approx(1 - smaller / count(net), abs=1e-12)
    assert smaller == count(DRN(scale=2, blocks=2, width=16, inner=widths))
    searched = RELAXATIONS[kind](budget, 0.3, rng=generator(1, "logits"))
    shares = searched.shares()
    exact = sum(
        math.prod(float(share[i].detach()) for share, i in zip(shares, picks, strict=True))
        * budget.removed([widths[i] for widths, i in zip(searched.ladders, picks, strict=True)])
        for picks in torch.cartesian_prod(*[torch.arange(len(share)) for share in shares]).tolist()
    )
    assert float(budget.expected_removed(shares).detach()) == pytest.approx(exact, abs=1e-6)


def test_second_order_is_the_finite_difference() -> None:
    """d/dalpha of L_val(w - rate * dL_train/dw(w, alpha), alpha), against differences in float64."""
    net, duals = DRN(scale=2, blocks=1, width=4).double(), DualNets(scale=2, width=4).double()
    fill(net)
    fill(duals)
    units = net.units()
    ladders = ladders_of(net, units, 2)
    loss = loss_of(duals, scale=2, weights=loss_weights(0.1), compute=Compute(CPU))
    rng = generator(1, "images")
    batches = [
        {1: torch.rand(1, 3, 12, 12, generator=rng).double(), 2: torch.rand(1, 3, 6, 6, generator=rng).double()}
        for _ in range(2)
    ]

    def value(logits: list[Tensor], order: str) -> Tensor:
        shares = [torch.softmax(row, dim=0) for row in logits]
        with mixed(net, units, ladders, shares):
            if order == "first":
                return outer_loss(net, loss, *batches, order="first", inner_rate=0.05)
            return outer_loss(net, loss, *batches, order="second", inner_rate=0.05)

    logits = [torch.randn(len(widths), generator=rng).double().requires_grad_() for widths in ladders]
    exact = torch.autograd.grad(value(logits, "second"), logits)
    first = torch.autograd.grad(value(logits, "first"), logits)
    direction = [torch.randn(len(widths), generator=rng).double() for widths in ladders]
    small = 1e-6
    moved = [
        value([row.detach() + sign * small * d for row, d in zip(logits, direction, strict=True)], "second")
        for sign in (1, -1)
    ]
    slope = float((moved[0] - moved[1]).detach()) / (2 * small)
    along = [float(sum((g * d).sum() for g, d in zip(kind, direction, strict=True))) for kind in (exact, first)]
    assert along[0] == pytest.approx(slope, rel=1e-4)
    assert abs(along[1] - slope) > 1e-3 * abs(slope)


def test_choice_meets_the_budget_and_prefers_the_likely() -> None:
    net = DRN(scale=2, blocks=6, width=24)
    ladders = ladders_of(net, net.units(), 16)
    budget = Budget.parameters(net, net.units(), ladders)
    rng = generator(1, "shares")
    for _ in range(5):
        shares = [torch.softmax(torch.randn(len(widths), generator=rng), dim=0) for widths in ladders]
        chosen = choose(budget, shares, wanted(0.3, 0.01))
        assert 0.3 <= budget.removed(chosen) <= 0.31
        best = max(
            (
                sum(math.log(float(share[i])) for share, i in zip(shares, picks, strict=True))
                for picks in torch.cartesian_prod(*[torch.arange(len(widths)) for widths in ladders]).tolist()
                if 0.3 <= budget.removed([w[i] for w, i in zip(ladders, picks, strict=True)]) <= 0.3095
            ),
        )
        reached = sum(math.log(float(s[w.index(c)])) for s, w, c in zip(shares, ladders, chosen, strict=True))
        assert reached >= best - 1e-9
    shares = [torch.ones(len(widths)) / len(widths) for widths in ladders]
    with pytest.raises(FoundryError, match="the fraction to remove must be at most"):
        choose(budget, shares, wanted(0.95, 0.01))


@pytest.mark.parametrize("order", ["first", "second"])
def test_search_meets_its_budget_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: Literal["first", "second"]
) -> None:
    monkeypatch.setattr("srfoundry.training.loop.SAVE_SECONDS", 0.0)
    patches = photographs(tmp_path / "set")
    units = nets()[0].units()
    budget = Budget.parameters(nets()[0], units, ladders_of(nets()[0], units, 4))

    def run(folder: Path, stop: int | None = None) -> tuple[list[Tensor], DRN]:
        net, duals = nets()
        loss = loss_of(duals, scale=2, weights=loss_weights(0.1), compute=Compute(CPU))

        def draw(index: int) -> dict[int, Tensor]:
            return patches.batch(1, 16, rng=generator(1, "search", index))

        def log(step: int, _values: dict[str, float]) -> None:
            if step == stop:
                raise KeyboardInterrupt

        model = modelled(order, *(("softmax", "weight") if order == "second" else ("threshold", "activation")))
        search = WidthSearch(
            net, loss, budget, wanted(0.3, 0.01), model, along(8), trained=[net, duals], rng=generator(1, "logits")
        )
        history = search.run((in_one_part(draw), in_one_part(draw)), Resumption(folder / "search.pt", "k", log))
        kept = search.kept.indices()
        widths = [len(channels) for channels in kept]
        assert history[-1]["step"] == 8
        assert "entropy" not in history[-1]  # the last step trains the net that will be cut
        assert history[-1]["removed"] == pytest.approx(budget.removed(widths))
        return kept, net

    whole, net = run(tmp_path / "whole")
    assert 0.3 <= budget.removed([len(channels) for channels in whole]) <= 0.31
    # the row before is what is on disk: to go on exploring, with the decision, with what was decided
    for stop in (2, 7, 8):
        folder = tmp_path / f"cut{stop}"
        with pytest.raises(KeyboardInterrupt):
            run(folder, stop=stop)
        again, other = run(folder)
        assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))
        assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_the_last_steps_train_the_net_that_is_cut_on_both_halves(tmp_path: Path) -> None:
    net, passes = DRN(scale=2, blocks=1, width=8), []
    redraw(net, generator(1, "net"))
    units = net.units()
    budget = Budget.parameters(net, units, ladders_of(net, units, 4))

    def draw(half: int, index: int) -> dict[int, Tensor]:
        rng = generator(1, "images", half, index)
        return {1: torch.rand(2, 3, 12, 12, generator=rng), 2: torch.rand(2, 3, 6, 6, generator=rng)}

    def loss(net: nn.Module, batch: Mapping[int, Tensor]) -> dict[str, Tensor]:
        if len(passes) == 15:  # seven steps of two passes, one decided: what was worth least is now worth most
            with torch.no_grad():
                for weight in (end_of(net, unit.consumer).weight for unit in units):
                    weight /= weight.abs().sum(dim=(0, 2, 3), keepdim=True).square()
        result = net(batch[2])
        passes.append((batch[2], result.detach(), copy.deepcopy(net.state_dict())))
        return {"total": (result - batch[1]).abs().mean()}

    search = WidthSearch(
        net, loss, budget, wanted(0.3, 0.02), modelled(), along(10), trained=[net], rng=generator(1, "logits")
    )
    search.run((in_one_part(partial(draw, 0)), in_one_part(partial(draw, 1))), Resumption(tmp_path / "search.pt", "k"))
    kept = search.kept.indices()
    widths, moved = [len(channels) for channels in kept], []
    for step, (low, result, weights) in zip((7, 8, 9), passes[-3:], strict=True):  # one pass each
        assert torch.equal(low, torch.cat([draw(0, step)[2], draw(1, step)[2]]))
        net.load_state_dict(weights)  # as it was in this step
        torch.testing.assert_close(thin(net, units, kept)(low), result, atol=1e-5, rtol=1e-5)
        again = largest(net, units, widths)
        moved.append(any(not torch.equal(a, b) for a, b in zip(kept, again, strict=True)))
    assert moved == [False, True, True]  # though another choice would be made by now


def test_search_of_attention_and_perceptron_for_multiply_adds(tmp_path: Path) -> None:
    """The mixture reaches the queries, the second order goes through the attention, the budget is of multiply-adds."""
    patches, net = photographs(tmp_path / "set"), attentive()
    units, low = net.units(), torch.zeros(1, 3, 8, 8)
    budget = Budget.multiplications(net, units, ladders_of(net, units, 1), low)

    def loss(net: nn.Module, batch: Mapping[int, Tensor]) -> dict[str, Tensor]:
        return {"total": (net(batch[2]) - batch[1]).abs().mean()}

    def draw(index: int) -> dict[int, Tensor]:
        return patches.batch(1, 16, rng=generator(1, "search", index))

    model, rng = modelled("second", "threshold", "activation"), generator(1, "logits")
    search = WidthSearch(net, loss, budget, wanted(0.4, 0.02, multiple=1), model, along(3), trained=[net], rng=rng)
    history = search.run((in_one_part(draw), in_one_part(draw)), Resumption(tmp_path / "search.pt", "k"))
    kept = search.kept.indices()
    smaller = thin(net, units, kept)
    assert 0.4 <= 1 - multiplications(smaller, low) / multiplications(net, low) <= 0.42
    assert all(row["entropy"] > 0 for row in history)


def test_a_certain_mixture_is_the_cut_attention() -> None:
    net = attentive()
    units, widths = net.units(), [3, 7, 5]
    ladders = ladders_of(net, units, 1)
    shares = [torch.eye(len(steps))[steps.index(width)] for steps, width in zip(ladders, widths, strict=True)]
    low = torch.rand(1, 3, 5, 6, generator=generator(1, "low"))
    with mixed(net, units, ladders, shares), torch.no_grad():
        wanted = net(low)
    torch.testing.assert_close(thin(net, units, largest(net, units, widths))(low), wanted, atol=2e-6, rtol=0)


def test_a_budget_out_of_reach_stops_before_any_step() -> None:
    net = attentive()
    budget = Budget.parameters(net, net.units(), ladders_of(net, net.units(), 4))
    with pytest.raises(FoundryError, match="the fraction to remove must be at most"):
        WidthSearch(
            net, lambda _net, _batch: {}, budget, wanted(0.9, 0.01), modelled(), along(3), trained=[net],
            rng=generator(1, "logits"),
        )  # fmt: skip

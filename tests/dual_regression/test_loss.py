"""The closed loop's loss: its algebra, images without a photograph, and a dual term that reaches the primal."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from srfoundry.core.compute import Compute
from srfoundry.core.seeds import generator, redraw
from srfoundry.degradation import operator
from srfoundry.degradation.kernels import gaussian
from srfoundry.degradation.settings import Model
from srfoundry.dual_regression.batch import DegradedBatch
from srfoundry.dual_regression.batches import pairs, targets
from srfoundry.dual_regression.loss import closed_loop, loss_of, operator_gap
from srfoundry.dual_regression.unpaired import windows, with_unpaired
from srfoundry.networks.sr.kernel_dual import KernelDual
from srfoundry.training.settings import PatchDraw
from tests.closed import CPU, loss_weights, nets, photographs, ranges

DRAWS = PatchDraw(patch=32, octave=0.5, batch=4)


def rows(*values: float, size: int = 2) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 3, size, size)


def test_loss_is_the_sum_of_means_over_scales() -> None:
    def constant(value: float, size: int) -> Tensor:
        return torch.full((1, 3, size, size), float(value))

    images, wanted = [constant(1, 2), constant(2, 4)], [constant(0.5, 2), constant(0, 4)]
    terms = closed_loop(images, [constant(0.2, 2)], wanted, 0.1)
    assert float(terms["primal"]) == pytest.approx(0.5 + 2.0)
    assert float(terms["dual"]) == pytest.approx(0.3)
    assert float(terms["total"]) == pytest.approx(2.5 + 0.03)


def test_the_dual_term_trains_the_primal(tmp_path: Path) -> None:
    net, duals = nets()
    batch = photographs(tmp_path).batch(2, 16, rng=generator(1, "batch"))
    loss_of(duals, scale=2, weights=loss_weights(0.1), compute=Compute(CPU))(net, batch)["dual"].backward()
    assert net.head.weight.grad is not None and float(net.head.weight.grad.abs().max()) > 0


def test_weight_zero_is_the_plain_loss(tmp_path: Path) -> None:
    patches = photographs(tmp_path)
    net, duals = nets()
    batch = patches.batch(2, 16, rng=generator(1, "batch"))
    terms = loss_of(duals, scale=2, weights=loss_weights(0.0), compute=Compute(CPU))(net, batch)
    wanted = targets(batch, 2)
    plain = sum((image - target).abs().mean() for image, target in zip(net.images(wanted[0]), wanted, strict=True))
    torch.testing.assert_close(terms["total"], plain, atol=0, rtol=1e-5)


def test_a_teacher_costs_nothing_to_itself(tmp_path: Path) -> None:
    net, duals = nets()
    batch = photographs(tmp_path).batch(2, 16, rng=generator(1, "batch"))
    loss = loss_of(duals, scale=2, weights=loss_weights(0.1), compute=Compute(CPU), teacher=net, teacher_weight=1.0)
    terms = loss(net, batch)
    assert float(terms["teacher"].detach()) == 0
    redraw(net.ups, generator(2, "other"))
    other, _ = nets()
    assert float(loss(other, batch)["teacher"].detach()) > 0


def test_an_image_without_a_photograph_has_the_dual_term_alone() -> None:
    """Two pairs and one lone image at x4, by hand: L = mean over the three of 1[paired] L_P + 0.1 L_D."""
    images_ = [rows(1, 2, 5), rows(1, 1, 7, size=4), rows(0, 1, 9, size=8)]
    wanted = [rows(0, 0, 3), rows(0, 0, size=4), rows(0, 0, size=8)]
    mapped = [rows(0, 1, 2), rows(1, 1, 3, size=4)]
    terms = closed_loop(images_, mapped, wanted, 0.1)
    paired = (1 + 1 + 0) + (2 + 1 + 1)
    # the lone one: its own image (7) stands for the target between; its low image is 3
    assert float(terms["primal"]) == pytest.approx(paired / 3)
    assert float(terms["dual"]) == pytest.approx(((0 + 1) + (1 + 1) + (1 + 4)) / 3)
    assert float(terms["total"]) == pytest.approx(float(terms["primal"]) + 0.1 * float(terms["dual"]))


def test_what_stands_for_an_unknown_target_is_held_fixed() -> None:
    """At x4 the last dual result of a lone image is held against its own half-way image, which learns nothing there."""
    between, last = rows(7.0, size=4).clone().requires_grad_(), rows(5.0, size=4).clone().requires_grad_()
    pictures, mapped = [rows(5.0), between, rows(9.0, size=8)], [rows(2.0), last]
    wanted = [rows(3.0), *(torch.zeros(0, 3, size, size) for size in (4, 8))]
    dual = closed_loop(pictures, mapped, wanted, 1.0)["dual"]
    assert float(dual.detach()) == pytest.approx(1 + 2)
    gradients = torch.autograd.grad(dual, [between, last], allow_unused=True)
    assert gradients[0] is None and gradients[1] is not None


def test_lone_images_train_the_primal(tmp_path: Path) -> None:
    net, duals = nets()
    batch = photographs(tmp_path).batch(2, 16, rng=generator(1, "batch"), factors=[1, 2])
    loss = loss_of(duals, scale=2, weights=loss_weights(0.1), compute=Compute(CPU))
    sources = [torch.rand(1, 3, 12, 20, generator=generator(1, "low"))]
    low = windows(sources, count=1, size=8, rng=generator(2, "cut"))[0].image[None]
    mixed = {**batch, 2: torch.cat([batch[2], low])}
    terms = loss(net, mixed)
    pairs = [loss(net, batch)[name].detach() for name in ("primal", "dual")]
    assert float(terms["primal"].detach()) == pytest.approx(float(pairs[0]) * 2 / 3, rel=1e-5)
    alone = (duals(net.images(low))[0] - low).abs().mean()
    assert float(terms["dual"].detach()) == pytest.approx((2 * float(pairs[1]) + float(alone.detach())) / 3, rel=1e-5)
    (gradient,) = torch.autograd.grad(alone, [net.head.weight])
    assert float(gradient.abs().max()) > 0


@pytest.mark.parametrize("model", ["blind", "photographs"])
def test_the_operator_that_made_each_pair_is_the_dual_map(tmp_path: Path, model: Model) -> None:
    """By hand: mean|A(y) - A(x)|, with the very kernel, phase and decimation; the truth itself costs nothing."""
    net, _ = nets()
    batch = pairs(photographs(tmp_path), DRAWS, ranges(model), scale=2, rng=generator(1, "pairs"))
    assert isinstance(batch, DegradedBatch)
    assert float(operator_gap(batch[1], batch)) == 0
    given = KernelDual(scale=2, size=1, decimation="bicubic")
    terms = loss_of(given, scale=2, weights=loss_weights(0.5), compute=Compute(CPU))(net, batch)
    restored = net(batch[2])
    expected = (batch.operator(restored) - batch.operator(batch[1])).abs().mean()
    torch.testing.assert_close(terms["dual"], expected)
    torch.testing.assert_close(terms["total"], terms["primal"] + 0.5 * expected)
    terms["dual"].backward()
    assert net.head.weight.grad is not None and float(net.head.weight.grad.abs().max()) > 0


@pytest.mark.parametrize("model", ["bicubic", "blind"])
def test_images_without_a_photograph_go_through_their_own_kernel(tmp_path: Path, model: Model) -> None:
    """An image that was made by its kernel costs nothing where it is restored to what it was made of."""
    high = photographs(tmp_path).image("one")
    blur = gaussian(9, torch.tensor([0.6]), torch.tensor([2.5]), torch.tensor([0.7]), offset=0.5)
    low = operator.degrade(high, blur, 2)
    cut = windows([low], count=3, size=32, rng=generator(3, "cut"))
    assert {window.turn for window in cut} != {0}
    draws = replace(DRAWS, patch=64, octave=0.0)
    found = pairs(photographs(tmp_path), draws, ranges(model), scale=2, rng=generator(1, "pairs"))
    batch = with_unpaired(found, cut, [blur], 2)
    assert isinstance(batch, DegradedBatch) and len(batch[2]) == len(batch[1]) + 3
    truth = torch.cat([batch[1], *(window.turned(high) for window in cut)])
    assert float(operator_gap(truth, batch)) < 1e-6
    wrong = torch.cat([batch[1], *(window.turned(high.flip(-1)) for window in cut)])
    assert float(operator_gap(wrong, batch)) > 1e-3

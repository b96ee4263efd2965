"""Adaptation: zero steps are plain evaluation, steps go down hill, and what cannot work is said."""

import math

import pytest
import torch

from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator, redraw
from srfoundry.degradation import kernels, linear_enlargement, operator
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.imaging import resize
from srfoundry.networks.adaptive.mzsr import MZSR
from srfoundry.zero_shot import restoration, self_pairs
from srfoundry.zero_shot.adaptation import adapt
from srfoundry.zero_shot.recipe import Recipe
from srfoundry.zero_shot.restoration import restore
from srfoundry.zero_shot.self_pairs import SelfPairs
from srfoundry.zero_shot.symmetries import SYMMETRIES, turn

RATES = [0.01] * 5


def small(width: int = 8, enlargement: linear_enlargement.How = "bicubic") -> MZSR:
    net = MZSR(width=width, depth=4)
    net.enlargement = enlargement
    redraw(net, generator(1, "net"))
    return net


def picture(height: int = 24, width: int = 24) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=generator(2))


def blur() -> torch.Tensor:
    return kernels.draw_gaussian(1, size=7, scale=1, rng=generator(3))[0]


def observed(
    low: torch.Tensor, kernel: torch.Tensor | None, scale: int = 2, *, decimation: operator.Decimation = "direct"
) -> Observation:
    return Observation(low, kernel, Sampling(scale, decimation))


def same(first: restoration.Weights, second: restoration.Weights, within: float = 0.0) -> bool:
    return all(float((first[name] - second[name]).detach().abs().max()) <= within for name in first)


def test_no_step_is_plain_evaluation() -> None:
    net, low = small(), picture(20, 24)
    found = adapt(net, observed(low, None), Recipe([]))
    assert found.losses == [] and found.step == 0 and not found.diverged
    assert restore(net, observed(low, None), weights=found.weights).equal(restore(net, observed(low, None)))
    plain = net(resize.cubic(low, 2)).clamp(0, 1).detach()
    # another memory order, other last digits
    assert float((restore(net, observed(low, None)) - plain).abs().max()) < 1e-6


def test_adaptation_lowers_the_loss_and_leaves_the_net_alone() -> None:
    net, low = small(), picture(33, 29)  # odd sizes are cropped to be reduced
    before = [weight.clone() for weight in net.parameters()]
    found = adapt(net, observed(low, blur()), Recipe(RATES))
    assert found.losses == sorted(found.losses, reverse=True) and len(found.losses) == 6 and found.step == 5
    assert all(a.equal(b) for a, b in zip(before, net.parameters(), strict=True))


@pytest.mark.parametrize("how", ["bicubic", "linear"])
def test_a_step_is_plain_gradient_descent_on_the_enlarged_copy(how: linear_enlargement.How) -> None:
    net, low, kernel = small(enlargement=how), picture(), blur()
    reduced = operator.degrade(low, kernel, 2).clamp(0, 1)
    enlarged = linear_enlargement.enlarge(reduced, kernel, 2, how=how)
    slope = torch.autograd.grad((net(enlarged) - low).abs().mean(), list(net.parameters()))
    wanted = {
        name: value.detach() - 0.1 * each for (name, value), each in zip(net.named_parameters(), slope, strict=True)
    }
    assert same(adapt(net, observed(low, kernel), Recipe([0.1])).weights, wanted, 1e-6)
    plain = net(linear_enlargement.enlarge(low, kernel, 2, how=how)).clamp(0, 1).detach()
    assert float((restore(net, observed(low, kernel)) - plain).abs().max()) < 1e-5


def test_rates_may_be_one_for_each_layer() -> None:
    net, low = small(), picture()
    count = len(list(net.parameters()))
    each = [[0.01 * (step + 1)] * count for step in range(3)]
    plain = adapt(net, observed(low, None), Recipe([0.01, 0.02, 0.03]))
    assert same(adapt(net, observed(low, None), Recipe(each)).weights, plain.weights)
    frozen = adapt(net, observed(low, None), Recipe([[0.01, *[0.0] * (count - 1)]]))
    moved = [name for name, value in net.named_parameters() if not value.equal(frozen.weights[name])]
    assert moved == ["body.0.weight"]
    with pytest.raises(FoundryError, match="one for each of the network's 8 weight tensors, got 2"):
        adapt(net, observed(low, None), Recipe([[0.01, 0.01]]))


def test_self_pairs_are_the_reductions_from_other_pixels() -> None:
    """The loss of several self-pairs is the mean of that of each shifted image; all of one size."""
    net, low, kernel = small(), picture(25, 27), blur()
    both = adapt(net, observed(low, kernel), Recipe([0.01], self_pairs=2))
    shifted = [
        adapt(net, observed(low[..., at : at + 24, at : at + 26], kernel), Recipe([0.01])).losses[0] for at in (0, 1)
    ]
    assert both.losses[0] == pytest.approx(sum(shifted) / 2, rel=1e-5)
    assert adapt(net, observed(low, kernel), Recipe([0.01], self_pairs=4)).losses[0] != both.losses[0]
    with pytest.raises(FoundryError, match=r"self_pairs must be 1 to 4 at scale 2, got 5"):
        adapt(net, observed(low, kernel), Recipe([0.01], self_pairs=5))


def test_windows_train_together_and_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    net, low, kernel = small(), torch.cat([picture(), 1 - picture()]), blur()
    whole = adapt(net, observed(low, kernel), Recipe(RATES))
    monkeypatch.setattr(self_pairs, "PIXELS", 24 * 24)
    pieces = adapt(net, observed(low, kernel), Recipe(RATES))
    assert same(whole.weights, pieces.weights, 1e-6) and whole.losses == pytest.approx(pieces.losses, rel=1e-5)


def test_the_held_out_part_does_not_train_and_decides() -> None:
    net, low, kernel = small(), picture(48, 64), blur()
    share = 0.2
    held = self_pairs.lattice(48, 64, share)
    assert 0.1 < float(held.float().mean()) < 0.3 and bool(held.any(dim=1).all()) and bool(held.any(dim=0).all())
    found = adapt(net, observed(low, kernel), Recipe([0.01, 0.05, 0.5, 0.5], held_out=share))
    assert found.step == found.held_out.index(min(found.held_out))
    spoilt = torch.where(held, 1 - low, low)  # the target of the held-out pixels, the same input
    enlarged = resize.cubic(observed(low, kernel).reduced(), 2)
    slopes = [
        self_pairs.SelfPairs(enlarged, target, held[None, None]).loss(net, dict(net.named_parameters()), slope=True)
        for target in (low, spoilt)
    ]
    assert slopes[0][1] != slopes[1][1] and slopes[0][0] == slopes[1][0]
    assert all(a.equal(b) for a, b in zip(slopes[0][2], slopes[1][2], strict=True))
    with pytest.raises(FoundryError, match="held_out must be a share of 0 to 0.5, got 0.9"):
        adapt(net, observed(low, kernel), Recipe(RATES, held_out=0.9))


@pytest.mark.parametrize("scale", [2, 3])
def test_what_is_held_out_trains_in_no_copy(scale: int) -> None:
    """Whichever pixel a copy begins with, however it is turned, and in whichever window it lies."""
    net, kernel = small(), blur()
    low = torch.arange(3 * 2 * 50 * 61).view(2, 3, 50, 61) / (3 * 2 * 50 * 61)  # each pixel another value
    recipe = Recipe([0.01], self_pairs=scale**2, held_out=0.2)
    copies = [SelfPairs.of(net, observed(low, kernel, scale), recipe)]
    copies += [SelfPairs.turned(net, observed(low, kernel, scale), recipe, step) for step in range(12)]
    held, trains = (
        {value for each in copies for value in each.target[part(each.held_out).expand_as(each.target)].tolist()}
        for part in (torch.clone, torch.logical_not)
    )
    assert held and not held & trains
    assert 0.15 < len(held) / len(held | trains) < 0.25


def test_the_smallest_image_trains_and_is_held_out_too() -> None:
    assert {bool(value) for value in self_pairs.lattice(16, 16, 0.01).flatten()} == {True, False}


@pytest.mark.parametrize("rates", [[0.01, 1e3, 1e3, 1e3], [0.01, 1e3], [0.01, 1e30, 1e30]])
@pytest.mark.parametrize("held_out", [0.0, 0.2])
def test_a_diverging_adaptation_falls_back_to_its_best_step(rates: list[float], held_out: float) -> None:
    net, low = small(), picture()
    found = adapt(net, observed(low, None), Recipe(rates, held_out=held_out))
    assert found.diverged and found.step == 1 and not found.losses[-1] < 2 * found.losses[0]
    once = adapt(net, observed(low, None), Recipe([0.01], held_out=held_out))
    assert once.step != 1 or same(found.weights, once.weights)
    assert all(bool(torch.isfinite(value).all()) for value in found.weights.values())


def test_the_reduced_copys_decimation_is_the_images() -> None:
    """An image that was reduced bicubically after its blur is reduced likewise (MZSR's g^b)."""
    net, low, kernel = small(), picture(32, 32), blur()
    ways: list[operator.Decimation] = ["direct", "bicubic"]
    first = {way: adapt(net, observed(low, kernel, decimation=way), Recipe([0.01])).losses for way in ways}
    assert first["direct"] != first["bicubic"]


@pytest.mark.parametrize("how", ["bicubic", "linear"])
def test_a_constant_image_gives_what_plain_evaluation_gives(how: linear_enlargement.How) -> None:
    net, low = small(enlargement=how), torch.tensor([0.5, 0.2, 0.9]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    found = adapt(net, observed(low, blur()), Recipe(RATES, held_out=0.1))
    assert same(found.weights, dict(net.named_parameters())) and not found.diverged and found.step == 0
    restored = restore(net, observed(low, blur()), weights=found.weights)
    assert restored.equal(restore(net, observed(low, blur()))) and bool(torch.isfinite(restored).all())


def test_what_cannot_be_adapted_to_is_said() -> None:
    wide = kernels.gaussian(31, torch.tensor([4.0]), torch.tensor([4.0]), torch.zeros(1))
    torn = torch.full((1, 3, 32, 32), math.nan)
    negative = torch.tensor([[[0.0, -0.5, 0.0], [-0.5, 3.0, -0.5], [0.0, -0.5, 0.0]]])
    cases: list[tuple[torch.Tensor, torch.Tensor | None, int, str]] = [
        (picture(12, 40), None, 2, "12x40 is too small to adapt on: a reduced copy to learn from needs 16 pixels"),
        (picture(24, 40), wide, 2, "the kernel of 31x31 needs 32 pixels"),
        (picture(), torch.full((1, 4, 4), 1 / 16), 2, "odd"),
        (picture(), torch.ones(1, 3, 3), 2, "sum to 1"),
        (picture(), torch.full((1, 3, 3), math.nan), 2, "NaN"),
        (picture(), negative, 2, "negative taps"),
        (picture(), blur(), 0, "scale must be a whole number of at least 1, got 0"),
        (picture(), blur(), -2, "got -2"),
        (picture()[:, :1], blur(), 2, "RGB images of 3 channels, got 1"),
        (torch.cat([picture(), picture()[:, :1]], dim=1), blur(), 2, "got 4"),
        (torn, blur(), 2, "the image holds NaN"),
    ]
    for low, kernel, scale, said in cases:
        with pytest.raises(FoundryError, match=said):
            adapt(small(), observed(low, kernel, scale), Recipe([0.01]))


def test_adams_steps_see_other_copies_and_a_step_that_makes_worse_is_not_kept() -> None:
    net, low, kernel = small(enlargement="linear"), picture(32, 32), blur()
    seen = [self_pairs.copy_of_step(step, 2) for step in range(32)]
    assert sorted(seen) == [(phase, symmetry) for phase in range(4) for symmetry in range(8)]
    assert seen[0] == self_pairs.copy_of_step(32, 2)
    found = adapt(net, observed(low, kernel), Recipe([1e-3] * 5, descent="adam"))
    assert found.step == found.losses.index(min(found.losses)) and found.losses[found.step] < found.losses[0]
    again = adapt(net, observed(low, kernel), Recipe([1e-3] * 5, descent="adam"))
    assert same(found.weights, again.weights)
    once = adapt(net, observed(low, kernel), Recipe([1e-4], descent="adam")).weights
    moved = [float((once[name] - value).detach().abs().max()) for name, value in net.named_parameters()]
    assert all(0 < each <= 1.01e-4 for each in moved)  # the first step is as long as its size in every weight
    thrown = adapt(net, observed(low, kernel), Recipe([0.3], descent="adam"))
    assert thrown.step == 0 and same(thrown.weights, dict(net.named_parameters()))


def test_a_turned_copy_is_one_more_photograph_under_the_same_blur() -> None:
    net, kernel = small(), blur()
    low = picture(24, 28)
    step = next(step for step in range(32) if self_pairs.copy_of_step(step, 2) == (0, 5))
    pairs = SelfPairs.turned(net, observed(low, kernel), Recipe([0.01], held_out=0.2), step)
    target = turn(low[..., :22, :26], SYMMETRIES[5])
    assert pairs.target.equal(target) and pairs.held_out.shape == (1, 1, *target.shape[-2:])
    reduced = operator.degrade(target, kernel, 2).clamp(0, 1)
    assert float((pairs.enlarged - resize.cubic(reduced, 2)).abs().max()) < 1e-6

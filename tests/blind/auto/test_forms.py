"""Forms of blur by the spectral likelihood: blurs are separated without anything learned."""

import copy
import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from srfoundry.blind.auto import forms, histories
from srfoundry.blind.auto.deciding import decide
from srfoundry.blind.auto.estimation import shaken_after_all
from srfoundry.blind.auto.evidence import Evidence
from srfoundry.blind.estimate import BlindObservation, Estimate, Promising
from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels, operator
from srfoundry.degradation.noise_level import known_noise
from srfoundry.degradation.observation import Sampling
from srfoundry.degradation.reductions import antialiasing, sized
from srfoundry.imaging import images
from tests.blind_cases import tiny

KERNELS = {
    "line": kernels.line(25, torch.tensor([14.0]), torch.tensor([0.6])),
    "gaussian": kernels.gaussian(25, torch.tensor([4.0]), torch.tensor([4.0]), torch.zeros(1)),
}


def observed(kernel: Tensor) -> BlindObservation:
    high = images.read(next(each for each in images.bundled() if each.stem == "flower"))[..., :320, :320]
    low = images.from_uint8(images.to_uint8(operator.degrade(high, kernel.float(), 2)))
    return BlindObservation(low, Sampling(2), known_noise(low))


@pytest.mark.parametrize("form", KERNELS)
def test_the_right_form_explains_the_spectrum_best(form: str) -> None:
    explained = forms.Explanations.of(observed(KERNELS[form]), tiny().spectrum)
    found = {name: float(explained.scores[explained.form == place].max()) for place, name in enumerate(forms.DRAWS)}
    round_ones = {"gaussian", "blurred, reduced"}  # a wide Gaussian hides what was done after it
    best = max(found, key=lambda name: found[name])
    assert best == form or {best, form} <= round_ones
    assert found[form] > found["disc"]
    alike = torch.tensor([0.0] * 3 + [0.2] * 5, dtype=torch.float64)  # a classifier that says nothing of the form
    evidence = Evidence(alike, alike[None], [(0, 0, 64, 64)], 0.0, None)
    assert decide(explained.supported(evidence), 2)[1] == form


def test_a_shake_stays_one_though_random_ones_are_unlike_it() -> None:
    shaken = kernels.centred(kernels.draw_trajectory(1, size=25, scale=2, rng=generator(0, "shaken"))[0])
    chances = torch.tensor([1e-3] * 6 + [0.993, 1e-3], dtype=torch.float64)
    evidence = Evidence(chances, chances[None], [(0, 0, 64, 64)], 0.0, None)
    found = forms.Explanations.of(observed(shaken), tiny().spectrum).supported(evidence).chances
    assert histories.NAMES[int(found.argmax())] == "shake"


def test_a_shake_that_rests_is_none_to_random_ones_and_one_with_its_own_kernel() -> None:
    """Half of its mass is in one place, the rest in a tail: no Gaussian is found that is wider than an antialiasing."""
    resting = 0.45 * sized(torch.ones(1, 1, 1), 25) + 0.55 * KERNELS["line"]
    explained = forms.Explanations.of(observed(resting), tiny().spectrum)
    assert explained.best(*histories.SHAPED) < explained.sharp + forms.LEAD
    asked: list[bool] = []

    def finding(kernel: Tensor) -> Callable[[str, Promising], Estimate]:
        def find(form: str, promising: Promising) -> Estimate:
            estimate = Estimate(kernel.float(), None, (0, 0, 160, 160), [])
            asked.append(form == "shake" and promising(estimate))
            return estimate

        return find

    found = shaken_after_all(explained, finding(resting), 2)
    assert found is not None and asked == [True]
    sharp = forms.Explanations.of(observed(antialiasing("bicubic", 2)), tiny().spectrum)
    for kernel in (resting, antialiasing("bicubic", 2)):
        assert shaken_after_all(sharp, finding(kernel), 2) is None and not asked[-1]
    assert shaken_after_all(explained, finding(sized(torch.ones(1, 1, 1), 25)), 2) is None


def test_many_tiles_make_nobody_surer() -> None:
    """Tiles of an image err alike: the same spectrum seen twice says no more than once."""
    once = forms.Explanations.of(observed(KERNELS["line"]), tiny().spectrum)
    twice = dataclasses.replace(once, scores=2 * once.scores, likelihood=copy.copy(once.likelihood))
    twice.likelihood.power = torch.cat([once.likelihood.power] * 2)
    chances = torch.full((len(histories.NAMES),), 1 / len(histories.NAMES), dtype=torch.float64)
    evidence = Evidence(chances, chances[None], [(0, 0, 64, 64)], 0.0, None)
    torch.testing.assert_close(twice.supported(evidence).chances, once.supported(evidence).chances)


def test_a_kernel_of_another_form_explains_the_spectrum_worse_than_random_ones() -> None:
    explained = forms.Explanations.of(observed(KERNELS["line"]), tiny().spectrum)
    right, wrong = KERNELS["line"].float(), KERNELS["gaussian"].float()
    assert explained.shortfall(wrong) > 100 > 20 > explained.shortfall(right)
    assert torch.equal(explained.better(right, "line"), right)  # none of the random lines is as good
    nearest = explained.better(wrong, "line")
    assert explained.shortfall(nearest) < explained.shortfall(wrong)
    likely, chances = explained.likely()
    assert float(chances.sum()) == pytest.approx(1) and len(likely) == forms.COUNTED
    places = [int((explained.kernels == kernel).flatten(1).all(dim=1).nonzero()[0]) for kernel in likely[:5]]
    assert {list(forms.DRAWS)[int(explained.form[place])] for place in places} == {"line"}


def test_chances_of_sharp_images_and_the_sum_of_the_others_stay() -> None:
    chances = torch.tensor([0.1, 0.05, 0.05, 0.3, 0.2, 0.1, 0.1, 0.1], dtype=torch.float64)
    evidence = Evidence(chances, chances[None], [(0, 0, 64, 64)], 0.0, None)
    found = forms.Explanations.of(observed(KERNELS["line"]), tiny().spectrum).supported(evidence).chances
    assert torch.equal(found[:3], chances[:3]) and float(found.sum()) == pytest.approx(1)
    assert found[histories.NAMES.index("line")] > 0.7


def test_forms_that_explain_no_more_than_a_reduction_make_way() -> None:
    chances = torch.tensor([0.0, 0.0, 0.0, 0.1, 0.1, 0.1, 0.6, 0.1], dtype=torch.float64)
    evidence = Evidence(chances, chances[None], [(0, 0, 64, 64)], 0.0, None)
    observation = observed(antialiasing("area", 2))
    found = forms.Explanations.of(observation, tiny().spectrum).supported(evidence).chances
    assert float(found[[histories.NAMES.index(name) for name in histories.SHAPED]].sum()) == 0

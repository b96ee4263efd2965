"""Kernels of several forms for one image: the one that blurred it wins, whatever it had been taken for."""

import math
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from srfoundry.blind.auto import histories
from srfoundry.blind.auto.contest import FAR, LEAD, SPOILS, SUSPECTED, Contest, calm
from srfoundry.blind.auto.deciding import ROUND
from srfoundry.blind.auto.evidence import Evidence
from srfoundry.blind.auto.forms import BlindObservation, Explanations
from srfoundry.blind.estimate import Estimate, Promising
from srfoundry.blind.motion_deblur.estimation import sparsity_near
from srfoundry.blind.motion_deblur.freeform import RESTORED
from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels
from srfoundry.degradation.reductions import sized
from tests.blind.auto.test_forms import KERNELS, observed
from tests.blind_cases import power_law, tiny
from tests.nonblind import data_steps

FREE = kernels.centred(kernels.draw_trajectory(1, size=25, scale=2, rng=generator(0, "shaken"))[0]).float()
FORMS = {name: kernel.float() for name, kernel in KERNELS.items()} | {"shake": FREE}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_that_blurred_the_image_wins_and_no_other(form: str) -> None:
    contest = held(observed(FORMS[form]))
    for taken, other in product(KERNELS, FORMS):
        if taken != other and form in (taken, other):
            found = lead(contest, FORMS[other], FORMS[taken], form=other, over=taken)
            assert found > LEAD if form == other else found < 0


@pytest.mark.parametrize("form", KERNELS)
def test_what_an_image_was_taken_for_does_not_matter(form: str) -> None:
    asked: list[str] = []

    def find(history: str, promising: Promising) -> Estimate:
        asked.append(history)
        return estimate(FORMS.get(history, FORMS["gaussian"]))

    contest = held(observed(KERNELS[form]))
    for taken in ("line", "gaussian", "blurred, reduced"):
        won = contest.winner(taken, estimate(FORMS.get(taken, FORMS["gaussian"])), find, never).history
        assert won == form or {won, form} <= {*ROUND}
        assert taken not in asked  # it is there
        asked.clear()


def test_a_rough_kernel_is_refined_where_it_leads_and_there_alone() -> None:
    asked: list[bool] = []

    def find(history: str, promising: Promising) -> Estimate:
        if history == "shake":
            asked.append(promising(estimate(FREE)))
        return estimate(FORMS.get(history, FORMS["gaussian"]))

    for blur, taken in ((FREE, "gaussian"), (FORMS["gaussian"], "gaussian")):
        contest = held(observed(blur), chance=0.5)
        contest.winner(taken, estimate(FORMS[taken]), find, never)
    assert asked == [True, False]


def test_a_free_form_that_the_classifier_suspects_is_looked_for_whatever_the_spectrum_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And its rough kernel is refined, which need not lead."""
    monkeypatch.setattr(Contest, "_residual", lambda contest, kernel: 0.0)
    straight, asked = held(observed(KERNELS["line"])), list[bool]()
    line = straight.enter("line", estimate(FORMS["line"]))
    suspicious = replace(straight, suspected=SUSPECTED)
    assert not straight.worth_finding("shake", line) and suspicious.worth_finding("shake", line)

    def find(history: str, promising: Promising) -> Estimate:
        if history == "shake":
            asked.append(promising(estimate(FREE)))
        return estimate(FORMS.get(history, FORMS["gaussian"]))

    suspicious.winner("line", estimate(FORMS["line"]), find, never)
    assert asked == [True]


@pytest.mark.parametrize("half, end, won", [(FREE, "line", "shake"), (FORMS["line"], "shake", "line")])
def test_a_free_form_is_judged_in_the_midst_of_its_refinement(
    half: Tensor, end: str, won: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes after that lowers the lead of right kernels, too."""
    monkeypatch.setattr(Contest, "_residual", lambda contest, kernel: 0.0)
    contest = held(observed(FREE), chance=0.5)

    def find(history: str, promising: Promising) -> Estimate:
        if history != "shake":
            return estimate(FORMS.get(history, FORMS["gaussian"]))
        assert all(promising(estimate(FREE)) for _ in ("begun", *RESTORED.proved[:-1]))
        assert promising(estimate(half)) == (won == "shake")
        return estimate(FREE if end == "shake" else FORMS["line"])

    assert contest.winner("line", estimate(FORMS["line"]), find, never).history == won


@pytest.mark.parametrize("left, won", [(0.4, "shake"), (0.6, "line")])
def test_a_kernel_that_does_not_explain_the_image_gives_way(
    left: float, won: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To one of free form that explains it by far better, whatever the spectrum says."""
    contest = held(observed(KERNELS["line"]))

    def find(history: str, promising: Promising) -> Estimate:
        assert history != "shake" or promising(estimate(FREE))
        return estimate(FORMS.get(history, FORMS["gaussian"]))

    def residual(contest: Contest, kernel: Tensor) -> float:
        return 2 * FAR * (left if torch.equal(kernel, FREE) else 1.0)

    monkeypatch.setattr(Contest, "_residual", residual)
    assert contest.winner("line", estimate(FORMS["line"]), find, never).history == won


@pytest.mark.parametrize("form, share", [("gaussian", 1.0), ("shake", 0.0)])
def test_noise_makes_edges_worse_witnesses_for_a_family(
    form: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Contest, "_sparsity", lambda contest, kernel: 1.0)
    clean = held(observed(KERNELS["gaussian"]))
    noisy = replace(clean, observation=replace(clean.observation, noise=5 / 255))
    found = [lead(each, FORMS["gaussian"], FORMS["line"], form=form, over="line") for each in (clean, noisy)]
    assert found[0] - found[1] == pytest.approx(share * SPOILS * 5 / 255)


def test_under_noise_a_rough_free_form_must_lead_by_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Contest, "_residual", lambda contest, kernel: 0.0)
    monkeypatch.setattr(Contest, "lead", lambda contest, second, first: 0.5 * SPOILS * 5 / 255)
    asked: list[bool] = []

    def find(history: str, promising: Promising) -> Estimate:
        if history == "shake":
            asked.append(promising(estimate(FREE)))
        return estimate(FORMS.get(history, FORMS["gaussian"]))

    clean = held(observed(FREE), chance=0.4)
    for noise in (0.0, 5 / 255):
        contest = replace(clean, observation=replace(clean.observation, noise=noise))
        contest.winner("gaussian", estimate(FORMS["gaussian"]), find, lambda form, found: True)
    assert asked == [True, False]


@pytest.mark.parametrize(
    "level, grain, expected", [(1.5, True, True), (5, False, True), (5, True, False), (15, False, False)]
)
def test_forms_contend_while_edges_stand_out_of_the_noise(level: float, grain: bool, expected: bool) -> None:
    image = functional.interpolate(power_law(64, 3), scale_factor=2, mode="bicubic")
    noise = torch.randn(1, 1 if grain else 3, 128, 128, generator=generator(5, "noise"))
    assert calm((image + level / 255 * noise).clamp(0, 1), level / 255) == expected


def test_a_family_whose_spectrum_is_hopeless_is_not_looked_for_to_the_end() -> None:
    asked: dict[str, bool] = {}

    def find(history: str, promising: Promising) -> Estimate:
        asked[history] = promising(estimate(FORMS.get(history, FORMS["gaussian"])))
        return estimate(FORMS.get(history, FORMS["gaussian"]))

    contest = held(observed(FORMS["line"]))
    gaussian = contest.enter("gaussian", estimate(FORMS["gaussian"]))
    contest.winner("gaussian", gaussian.found, find, never)
    assert asked["line"]
    line = contest.enter("line", estimate(FORMS["line"]))
    assert contest.lead(gaussian, line) == -math.inf  # and no restorer is asked
    assert "sparsity" not in vars(gaussian) and "sparsity" not in vars(line)


def test_it_leaves_equals_as_they_are() -> None:
    contest = held(observed(FREE))
    for free, other in ((FREE, FREE), (FREE, sized(FREE, 35)), (sized(FREE, 35), FREE)):  # zeros say nothing
        assert lead(contest, free, other, form="shake", over="line") <= 1e-3


def test_edges_are_sparser_with_the_right_kernel_than_with_one_that_rings() -> None:
    seen = observed(KERNELS["gaussian"])
    right, wrong = (sparsity_near(seen, FORMS[form], data_steps()) for form in ("gaussian", "line"))
    assert right < wrong


def test_a_form_is_looked_for_only_where_it_has_a_chance() -> None:
    shaken, straight = held(observed(FREE)), held(observed(KERNELS["line"]))
    gaussian, line = (
        each.enter(form, estimate(FORMS[form])) for each, form in ((shaken, "gaussian"), (straight, "line"))
    )
    assert shaken.worth_finding("shake", gaussian)
    assert not straight.worth_finding("gaussian", line)
    assert not straight.worth_finding("disc", line)


def test_a_thumbnails_kernel_takes_no_place() -> None:
    def find(history: str, promising: Promising) -> Estimate:
        return estimate(FORMS.get(history, FORMS["gaussian"]))

    contest, line = held(observed(KERNELS["gaussian"])), estimate(FORMS["line"])
    assert contest.winner("line", line, find, never).history == "gaussian"
    assert contest.winner("line", line, find, lambda form, found: True).history == "line"


def test_a_free_form_is_not_judged_by_its_width() -> None:
    def find(history: str, promising: Promising) -> Estimate:
        return estimate(FREE)

    contest = held(observed(FREE), chance=0.5)
    assert contest.winner("gaussian", estimate(FORMS["gaussian"]), find, lambda form, found: True).history == "shake"


def never(form: str, found: Estimate) -> bool:
    """Whether a kernel is too narrow."""
    return False


def held(seen: BlindObservation, *, chance: float = 0.0) -> Contest:
    """A contest on an image of which a classifier says nothing, but how likely camera shake is."""
    chances = torch.full((len(histories.NAMES),), 1 / len(histories.NAMES), dtype=torch.float64)
    explained = Explanations.of(seen, tiny().spectrum)
    evidence = explained.supported(Evidence(chances, chances[None], [(0, 0, 64, 64)], 0.0, None))
    evidence.chances[histories.NAMES.index("shake")] += chance
    return Contest(seen, evidence, explained, data_steps(), size=35)


def lead(contest: Contest, kernel: Tensor, other: Tensor, *, form: str, over: str) -> float:
    return contest.lead(contest.enter(form, estimate(kernel)), contest.enter(over, estimate(other)))


def estimate(kernel: Tensor) -> Estimate:
    return Estimate(kernel, None, (0, 0, 64, 64), [])

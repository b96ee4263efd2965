"""Kernels of several forms for one image: the one that blurred it wins, whatever it had been taken for."""

from itertools import product

import pytest
import torch
from torch import Tensor

from srfoundry.blind.auto import histories
from srfoundry.blind.auto.contest import Contender, Contest
from srfoundry.blind.auto.evidence import Evidence
from srfoundry.blind.auto.forms import BlindObservation, Explanations
from srfoundry.blind.auto.reductions import sized
from srfoundry.blind.estimate import Estimate
from srfoundry.blind.motion_deblur.estimation import sparsity_near
from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels
from tests.blind.auto.test_forms import KERNELS, observed
from tests.blind_cases import tiny
from tests.nonblind import data_steps

FREE = kernels.centred(kernels.draw_trajectory(1, size=25, scale=2, rng=generator(0, "shaken"))[0]).float()
FORMS = {name: kernel.float() for name, kernel in KERNELS.items()} | {"shake": FREE}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_that_blurred_the_image_wins_and_no_other(form: str) -> None:
    contest = held(observed(FORMS[form]))
    for taken, other in product(KERNELS, FORMS):
        if taken != other and form in (taken, other):
            assert contest.won(entrant(other), entrant(taken)) is (form == other)


@pytest.mark.parametrize("form", KERNELS)
def test_what_an_image_was_taken_for_does_not_matter(form: str) -> None:
    asked: list[str] = []

    def find(history: str) -> Estimate:
        asked.append(history)
        return entrant(history if history in FORMS else "gaussian").found

    contest = held(observed(KERNELS[form]))
    for taken in ("line", "gaussian", "blurred, reduced"):
        first = entrant(taken if taken in FORMS else "gaussian").found
        round_ones = {"gaussian", "blurred, reduced"}
        won = contest.winner(taken, first, find).history
        assert won == form or {won, form} <= round_ones
        assert taken not in asked or taken == "gaussian"
        asked.clear()


def test_it_leaves_equals_as_they_are() -> None:
    contest = held(observed(FREE))
    for free, other in ((FREE, FREE), (FREE, sized(FREE, 35)), (sized(FREE, 35), FREE)):  # zeros say nothing
        assert not contest.won(Contender("shake", estimate(free)), Contender("line", estimate(other)))


def test_edges_are_sparser_with_the_right_kernel_than_with_one_that_rings() -> None:
    seen = observed(KERNELS["gaussian"])
    right, wrong = (sparsity_near(seen, FORMS[form], data_steps()) for form in ("gaussian", "line"))
    assert right < wrong


def test_a_form_is_looked_for_only_where_it_has_a_chance() -> None:
    shaken, straight = held(observed(FREE)), held(observed(KERNELS["line"]))
    assert shaken.worth_finding("shake", entrant("gaussian"))
    assert not straight.worth_finding("gaussian", entrant("line"))
    assert not straight.worth_finding("disc", entrant("line"))


def held(seen: BlindObservation) -> Contest:
    """A contest on an image of which a classifier says nothing."""
    chances = torch.full((len(histories.NAMES),), 1 / len(histories.NAMES), dtype=torch.float64)
    explained = Explanations.of(seen, tiny().spectrum)
    evidence = explained.supported(Evidence(chances, chances[None], [(0, 0, 64, 64)], 0.0, None))
    return Contest(seen, evidence, explained, data_steps(), size=35)


def entrant(form: str) -> Contender:
    return Contender(form, estimate(FORMS[form]))


def estimate(kernel: Tensor) -> Estimate:
    return Estimate(kernel, None, (0, 0, 64, 64), [])

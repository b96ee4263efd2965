"""A kernel of free form against one of a family: the one that blurred the image wins, whichever it is."""

import pytest
from torch import Tensor

from srfoundry.blind.auto import contest, forms
from srfoundry.blind.auto.reductions import sized
from srfoundry.blind.motion_deblur.estimation import sparsity_near
from srfoundry.core.seeds import generator
from srfoundry.degradation import kernels
from tests.blind.auto.test_forms import KERNELS, observed
from tests.blind_cases import tiny
from tests.nonblind import data_steps

FREE = kernels.centred(kernels.draw_trajectory(1, size=25, scale=2, rng=generator(0, "shaken"))[0]).float()


@pytest.mark.parametrize("form", KERNELS)
def test_a_free_form_wins_where_it_blurred_the_image_and_there_alone(form: str) -> None:
    family = KERNELS[form].float()
    for blur, free in ((FREE, True), (family, False)):
        seen = observed(blur)
        explained = forms.Explanations.of(seen, tiny().spectrum)
        assert contest.freer(seen, explained, FREE, family, data_steps()) is free


def test_it_leaves_equals_as_they_are() -> None:
    seen = observed(FREE)
    explained = forms.Explanations.of(seen, tiny().spectrum)
    assert explained.freer(FREE, FREE) <= 0
    for free, other in ((FREE, FREE), (FREE, sized(FREE, 35)), (sized(FREE, 35), FREE)):  # zeros say nothing
        assert not contest.freer(seen, explained, free, other, data_steps())


def test_edges_are_sparser_with_the_right_kernel_than_with_one_that_rings() -> None:
    seen = observed(KERNELS["gaussian"])
    assert _sparsity(seen, KERNELS["gaussian"].float()) < _sparsity(seen, KERNELS["line"].float())


def test_a_free_form_is_looked_for_only_where_it_has_a_chance() -> None:
    shaken, straight = (forms.Explanations.of(observed(kernel), tiny().spectrum) for kernel in (FREE, KERNELS["line"]))
    assert shaken.freer(KERNELS["gaussian"].float()) > straight.freer(KERNELS["line"].float())


def _sparsity(seen: forms.BlindObservation, kernel: Tensor) -> float:
    return sparsity_near(seen, kernel, data_steps())

"""A card says how its network adapts."""

import pytest

from srfoundry.core.errors import FoundryError
from srfoundry.zero_shot.recipe import Recipe


def test_a_card_says_how_to_adapt() -> None:
    metrics = {"rates": [0.02, 0.01], "self_pairs": 2}
    recipe = Recipe.from_card(metrics)
    assert recipe == Recipe([0.02, 0.01], self_pairs=2)
    assert recipe.to_card() == {
        **metrics,
        "held_out": 0.0,
        "descent": "plain",
    }
    assert [recipe.with_steps(count).rates for count in (0, 1, 4)] == [[], [0.02], [0.02, 0.01, 0.01, 0.01]]
    other = Recipe([0.03], descent="adam")
    assert Recipe.from_card({}, otherwise=other).with_steps(2) == Recipe([0.03, 0.03], descent="adam")
    assert Recipe.from_card(metrics, otherwise=other) == recipe
    assert Recipe.from_card(other.to_card()) == other
    assert Recipe.from_card({}).with_steps(0).rates == []
    with pytest.raises(FoundryError, match="names no rates"):
        Recipe.from_card({}).with_steps(2)
